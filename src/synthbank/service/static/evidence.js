// Evidence: tiles and points open their image; a button measures.
import { $, api, element, prepareGallery, toast } from "./common.js";

const list = $(".tiles");
if (list) {
  const dialog = element("dialog", { "aria-label": "Image" });
  document.body.append(dialog);
  prepareGallery(list, dialog);
}

const button = $("#evaluate");
const said = $("#evaluation");

async function follow() {
  button.disabled = true;
  for (;;) {
    const status = await api("GET", `/v1/evaluations/progress?job=${button.dataset.job}`);
    if (status.state === "done") return location.reload();
    if (status.state === "failed" || status.state === "none") {
      said.textContent = status.message ?? "The service was restarted; measure again.";
      button.disabled = false;
      return;
    }
    said.textContent = status.state === "queued" ? "Waiting for its turn …" : "Measuring against held-out originals; this takes a minute or more …";
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

button?.addEventListener("click", async () => {
  try {
    await api("POST", "/v1/evaluations", { job: button.dataset.job });
    await follow();
  } catch (problem) {
    toast(problem.message);
    button.disabled = false;
  }
});
if (button?.dataset.running) follow();
