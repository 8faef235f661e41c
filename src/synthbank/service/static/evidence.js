// Evidence: the tiles open their image.
import { $, element, prepareGallery } from "./common.js";

const list = $(".tiles");
if (list) {
  const dialog = element("dialog", { "aria-label": "Image" });
  document.body.append(dialog);
  prepareGallery(list, dialog);
}
