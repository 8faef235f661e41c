// Bank: filters in the address, pages that load while scrolling, keyboard navigation.
import { $, api, prepareDetail, prepareGallery, tile, toast } from "./common.js";

const gallery = $("#gallery");
prepareDetail(document, { onWithdrawn: () => location.reload() });
if (gallery) start();

function start() {
  const form = $("#filters");
  const more = $("#more");
  let next = more.dataset.next;
  let loading = false;
  let newest = 0;
  const nearEnd = new IntersectionObserver((seen) => seen.some((entry) => entry.isIntersecting) && load(), { rootMargin: "800px" });

  function query() {
    const values = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value) values.set(name, name === "since" ? `${value}T00:00:00Z` : value);
    return values;
  }

  async function load({ fresh = false } = {}) {
    if (!fresh && (loading || !next)) return;
    loading = true;
    const request = ++newest;
    const values = query();
    values.set("limit", "60");
    if (!fresh) values.set("after", next);
    try {
      const page = await api("GET", `/v1/images?${values}`);
      if (request !== newest) return;
      const tiles = page.items.map(tile);
      if (fresh) gallery.replaceChildren(...tiles);
      else gallery.append(...tiles);
      next = page.next ?? "";
      more.textContent = next ? "Loading …" : gallery.children.length ? "That is all." : "No image fits these filters.";
    } catch (problem) {
      toast(problem.message);
    } finally {
      if (request === newest) loading = false;
    }
    // the observer reports changes only: observe anew, in case the end is still near
    nearEnd.unobserve(more);
    nearEnd.observe(more);
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    const shown = query();
    history.replaceState(null, "", shown.size ? `?${shown}` : location.pathname);
    load({ fresh: true });
  });
  nearEnd.observe(more);
  prepareGallery(gallery, $("#shown"), { onNearEnd: () => load() });
  const given = new URLSearchParams(location.search);
  let changed = false;
  for (const name of ["order", "max_distance", "since"]) {
    if (!given.has(name)) continue;
    form.elements.namedItem(name).value = given.get(name).slice(0, 10);
    changed = true;
  }
  if (changed) load({ fresh: true });
}
