// One reader, one test: every answer is stored at once.
import { $, api, toast } from "./common.js";

const root = $("#reading");
const shown = $("#shown");
let reader = "";
let open = [];
let since = 0;
let busy = false;

function show(name) {
  for (const id of ["begin", "ask", "end"]) $(`#${id}`).hidden = id !== name;
}

const percent = (share) => `${Math.round(100 * share)}%`;

async function finish() {
  const results = await api("GET", `/v1/reader-studies/${root.dataset.study}/results`);
  const result = results.find((result) => result.reader === reader);
  $("#result").textContent = `${reader}: ${percent(result.accuracy)} of ${result.count} right (95% interval ${percent(result.low)} to ${percent(result.high)}; guessing is 50%). Conclusion: ${result.conclusion}.`;
  show("end");
}

async function next(total) {
  if (!open.length) return finish();
  shown.src = `/v1/reader-studies/${root.dataset.study}/images/${open[0]}`;
  await shown.decode().catch(() => toast("This image could not be loaded"));
  $("#place").textContent = `Image ${total - open.length + 1} of ${total}`;
  $("#bar").value = total - open.length;
  show("ask");
  since = performance.now();
}

async function answer(word) {
  if (busy || $("#ask").hidden) return;
  busy = true;
  try {
    const milliseconds = Math.round(performance.now() - since);
    await api("POST", `/v1/reader-studies/${root.dataset.study}/answers`, { reader, token: open[0], answer: word, milliseconds });
    open.shift();
    await next(Number($("#bar").max));
  } catch (problem) {
    toast(problem.message);
  }
  busy = false;
}

if (root) {
  $("#begin").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const name = encodeURIComponent($("#reader").value.trim());
      const reading = await api("GET", `/v1/reader-studies/${root.dataset.study}/open?reader=${name}`);
      ({ reader, open } = reading);
      $("#bar").max = reading.count;
      await next(reading.count);
    } catch (problem) {
      toast(problem.message);
    }
  });
  for (const button of root.querySelectorAll("[data-answer]")) button.addEventListener("click", () => answer(button.dataset.answer));
  document.addEventListener("keydown", (event) => {
    const word = { r: "real", s: "synthetic" }[event.key.toLowerCase()];
    if (word && !event.ctrlKey && !event.metaKey && !event.altKey && event.target.tagName !== "INPUT") answer(word);
  });
}
