// Reader tests: make one.
import { $, api, toast } from "./common.js";

$("#study-form")?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const values = new FormData(event.target);
  try {
    await api("POST", "/v1/reader-studies", { job: values.get("job"), count: Number(values.get("count")) });
    location.reload();
  } catch (problem) {
    toast(problem.message);
  }
});
