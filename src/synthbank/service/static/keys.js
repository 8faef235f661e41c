// API keys: make, rotate, revoke; a token is shown once.
import { $, api, toast } from "./common.js";

const dialog = $("#key-dialog");
const form = $("#key-form");

function showToken(token) {
  form.hidden = true;
  $("#token").textContent = token;
  $("#key-made").hidden = false;
  if (!dialog.open) dialog.showModal();
}

$("#new-key").addEventListener("click", () => {
  form.hidden = false;
  $("#key-made").hidden = true;
  dialog.showModal();
  $("#key-name").focus();
});
$("[data-do=close]", dialog).addEventListener("click", () => dialog.close());
$("[data-do=done]", dialog).addEventListener("click", () => location.reload());
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const values = new FormData(form);
  const days = values.get("days");
  try {
    const made = await api("POST", "/v1/keys", { name: values.get("name"), scope: values.get("scope"), days: days ? Number(days) : null });
    showToken(made.token);
  } catch (problem) {
    toast(problem.message);
  }
});
for (const row of document.querySelectorAll("[data-key]")) {
  $("[data-do=rotate]", row)?.addEventListener("click", async () => {
    try {
      showToken((await api("POST", `/v1/keys/${row.dataset.key}/rotate`)).token);
    } catch (problem) {
      toast(problem.message);
    }
  });
  $("[data-do=revoke]", row)?.addEventListener("click", async (event) => {
    if (event.target.dataset.sure) {
      await api("POST", `/v1/keys/${row.dataset.key}/revoke`).then(() => location.reload(), (problem) => toast(problem.message));
    } else {
      event.target.dataset.sure = "1";
      event.target.textContent = "Sure?";
    }
  });
}
