// Shared by all pages: calls to the API, tiles, and the dialog that shows one image.

export const $ = (selector, root = document) => root.querySelector(selector);

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") made.textContent = value;
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

export async function api(method, path, body) {
  const options = { method, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const content = await answer.json().catch(() => ({}));
  if (answer.status === 401) location.assign("/login");
  if (!answer.ok) {
    const facts = content.error ?? { what: `The service answered ${answer.status}` };
    throw new Error([facts.what, facts.next].filter(Boolean).join(" – "));
  }
  return content;
}

let hiding;
export function toast(text) {
  $(".toast")?.remove();
  clearTimeout(hiding);
  const made = element("div", { class: "toast", role: "status", text });
  document.body.append(made);
  hiding = setTimeout(() => made.remove(), 6000);
}

export function tile(image) {
  const link = element("a", { class: "tile", href: `/images/${image.id}`, "data-id": image.id });
  if (image.verdict === "withdrawn") {
    link.classList.add("gone");
    link.textContent = image.verdict;
  } else {
    link.setAttribute("aria-label", `${image.class}, number ${image.index}${image.verdict === "rejected" ? ", rejected" : ""}`);
    link.append(element("img", { src: `/v1/images/${image.id}/thumbnail?side=160`, alt: "", loading: "lazy", width: 112, height: 112 }));
    if (image.verdict === "rejected") link.append(element("span", { class: "badge rejected", text: image.verdict }));
  }
  return element("li", {}, link);
}

export const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;

// ---- one image, in a dialog or on a page of its own

export function prepareDetail(root, { onWithdrawn = () => location.reload() } = {}) {
  const detail = $(".detail", root);
  if (!detail) return;
  const id = detail.dataset.image;
  const said = $(".said", detail);
  $("[data-do=regenerate]", detail)?.addEventListener("click", async (event) => {
    event.target.disabled = true;
    said.textContent = "Making it again from its seed …";
    try {
      const made = await api("POST", `/v1/images/${id}/regenerate`);
      const figure = $(".again", detail);
      $("img", figure).src = `data:image/png;base64,${made.png}`;
      $("figcaption", figure).textContent = made.equal ? "Made again: equal, pixel by pixel" : "Made again: NOT equal";
      figure.hidden = false;
      said.textContent = "";
    } catch (problem) {
      said.textContent = problem.message;
    }
    event.target.disabled = false;
  });
  const form = $(".withdraw", detail);
  $("[data-do=withdraw]", detail)?.addEventListener("click", () => {
    form.hidden = !form.hidden;
    if (!form.hidden) $("input", form).focus();
  });
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const image = await api("POST", `/v1/images/${id}/withdraw`, { reason: $("input", form).value });
      onWithdrawn(image);
    } catch (problem) {
      said.textContent = problem.message;
    }
  });
}

export async function openImage(dialog, id, options) {
  const answer = await fetch(`/images/${id}?part=1`);
  if (!answer.ok) {
    toast("This image cannot be shown.");
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const close = element("button", { class: "button close", type: "button", "aria-label": "Close", text: "×" });
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(...page.body.children, close);
  prepareDetail(dialog, options);
  if (!dialog.open) dialog.showModal();
  close.focus();
}

// Arrow keys in a grid of tiles; Enter and click open the dialog, in which left and right show the neighbours.
export function prepareGallery(list, dialog, { onNearEnd = () => {} } = {}) {
  const links = () => [...list.querySelectorAll(".tile")];
  let current = null;
  const show = (link) => {
    current = link;
    openImage(dialog, link.dataset.id, {
      onWithdrawn: (image) => {
        dialog.close();
        const made = tile(image);
        link.parentElement.replaceWith(made);
        current = $(".tile", made);
        current.focus();
        toast("Withdrawn. Nobody gets this image any more.");
      },
    });
  };
  list.addEventListener("click", (event) => {
    const link = event.target.closest(".tile");
    if (!link || event.metaKey || event.ctrlKey) return;
    event.preventDefault();
    show(link);
  });
  const columns = () => getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const go = (from, step) => {
    const all = links();
    const place = all.indexOf(from) + step;
    if (place > all.length - 2 * columns()) onNearEnd();
    return all[place];
  };
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
    const next = event.key in steps && go(event.target.closest(".tile"), steps[event.key]);
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input") || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    const next = go(current, event.key === "ArrowRight" ? 1 : -1);
    if (next) show(next);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => current?.focus());
}
