// Make: a request becomes a job; its images appear as they are recorded.
import { $, api, element, newSeed, prepareGallery, tile, toast } from "./common.js";

const form = $("#make");
if (form) start();

function start() {
  const field = (name) => form.elements.namedItem(name);
  const classes = $("#classes");
  let following = null;

  function showClasses() {
    const names = JSON.parse(field("model").selectedOptions[0].dataset.classes);
    const options = ["", ...names].map((name, i) =>
      element(
        "label",
        {},
        element("input", { type: "radio", name: "class", value: name, ...(i === 0 ? { checked: "" } : {}) }),
        element("span", { text: name || "all" }),
      ),
    );
    classes.replaceChildren(...options);
  }

  field("model").addEventListener("change", showClasses);
  field("truncation").addEventListener("input", (event) => {
    $("#truncation-shown").textContent = Number(event.target.value).toFixed(2);
  });
  $("#dice").addEventListener("click", () => (field("seed").value = newSeed()));
  $("#dice-towards").addEventListener("click", () => (field("towards").value = newSeed()));
  showClasses();
  prepareGallery($("#made"), $("#shown"));

  function wanted() {
    const body = {
      model: field("model").value,
      count: Number(field("count").value),
      seed: Number(field("seed").value),
      truncation: Number(field("truncation").value),
      format: "url",
    };
    const name = form.querySelector("[name=class]:checked").value;
    if (name) body.class = name;
    if ($("#interpolation").open) body.towards = Number(field("towards").value);
    return body;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    following?.stop();
    const body = wanted();
    try {
      const job = await api("POST", "/v1/jobs", body);
      following = follow(job, body);
      if (matchMedia("(max-width: 760px)").matches) $(".stage").scrollIntoView({ behavior: "smooth" });
    } catch (problem) {
      toast(problem.message);
    }
  });
  $("#cancel").addEventListener("click", () => following?.cancel());
  $("#pack").addEventListener("click", () => following?.pack());
}

function follow(job, body) {
  const list = $("#made");
  const names = body.class ? [body.class] : Object.keys(job.wanted);
  const cursors = Object.fromEntries(names.map((name) => [name, { after: null, n: 0 }]));
  const source = new EventSource(job.links.events);
  let reading = Promise.resolve();
  $("#start").hidden = true;
  $("#work").hidden = false;
  $("#player").hidden = true;
  list.replaceChildren();
  $("#cancel").hidden = false;
  $("#pack").hidden = true;
  const bank = $("#in-bank");
  bank.href = `/bank?job=${job.id}`;
  bank.hidden = true;

  async function readNew() {
    for (const name of names) {
      const cursor = cursors[name];
      while (cursor.n < body.count) {
        const query = new URLSearchParams({ job: job.id, class: name, verdict: "accepted", order: "id", limit: Math.min(body.count - cursor.n, 200) });
        if (cursor.after) query.set("after", cursor.after);
        const page = await api("GET", `/v1/images?${query}`);
        for (const image of page.items) list.append(tile(image));
        cursor.n += page.items.length;
        cursor.after = page.items.at(-1)?.id ?? cursor.after;
        if (!page.next) break;
      }
    }
  }

  function showState(state) {
    const words = { queued: "Waiting for a free worker …", running: "Making images …", done: "Done", capped: "Ended early", cancelled: "Stopped", failed: "Failed" };
    const all = Object.keys(job.wanted).length ? state.accepted : 0;
    $("#said").textContent = `${words[state.status]}${all ? ` · ${all.toLocaleString()} accepted, ${state.rejected.toLocaleString()} rejected` : ""}${state.message ? ` · ${state.message}` : ""}`;
    $("#progress").value = state.progress;
  }

  source.addEventListener("job", (event) => {
    const state = JSON.parse(event.data);
    showState(state);
    reading = reading.then(readNew).catch((problem) => toast(problem.message));
    if (!["queued", "running"].includes(state.status)) {
      source.close();
      $("#cancel").hidden = true;
      bank.hidden = false;
      $("#pack").hidden = !state.accepted;
      if (body.towards !== undefined) reading.then(() => showInterpolation(list));
    }
  });
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED || $("#said").append(" · reconnecting …"));

  return {
    stop: () => source.close(),
    cancel: () => api("POST", `/v1/jobs/${job.id}/cancel`).catch((problem) => toast(problem.message)),
    pack: async () => {
      try {
        const made = await api("POST", "/v1/exports", { job: job.id });
        location.assign(made.url);
      } catch (problem) {
        toast(problem.message);
      }
    },
  };
}

function showInterpolation(list) {
  const ids = [...list.querySelectorAll(".tile")].map((link) => link.dataset.id);
  if (ids.length < 2) return;
  const place = $("#place");
  const frame = $("#frame");
  const button = $("#play");
  let playing = null;
  const show = () => {
    frame.src = `/v1/images/${ids[place.value]}/file`;
    frame.alt = `Step ${Number(place.value) + 1} of ${ids.length} of the interpolation`;
  };
  place.max = ids.length - 1;
  place.value = 0;
  place.oninput = show;
  button.onclick = () => {
    if (playing) {
      clearInterval(playing);
      playing = null;
      button.textContent = "Play";
      return;
    }
    let step = 1;
    button.textContent = "Pause";
    playing = setInterval(() => {
      if (Number(place.value) + step < 0 || Number(place.value) + step >= ids.length) step = -step;
      place.value = Number(place.value) + step;
      show();
    }, 180);
  };
  $("#player").hidden = false;
  show();
}
