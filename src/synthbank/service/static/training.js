// Training: curves of a run, redrawn while it runs, and a slider through its samples.
import { $, api, element } from "./common.js";

const run = $("#run");
if (run) start();

const CHARTS = [
  { title: "Distance to real images (KID × 1000)", series: [["kid", "validation"]], from: "snapshot" },
  { title: "Logits of the discriminator", series: [["logit_of_train", "training images"], ["logit_of_validation", "held-out images"], ["logit_of_fake", "synthetic images"]], from: "snapshot" },
  { title: "Variety within a class", series: [["fake_diversity", "synthetic"], ["real_diversity", "real"]], from: "snapshot" },
  { title: "Losses", series: [["loss_d", "discriminator"], ["loss_g", "generator"]], from: "status" },
];

async function start() {
  let sheets = "";
  const place = $("#sheet-place");
  const showSheet = () => {
    const step = JSON.parse(sheets)[place.value];
    $("#sheet").src = `/v1/runs/${run.dataset.run}/sheets/${step}`;
    $("#step").textContent = step.toLocaleString();
  };
  place.addEventListener("input", showSheet);

  for (;;) {
    const state = await api("GET", `/v1/runs/${run.dataset.run}`).catch(() => null);
    if (state) {
      const badge = element("span", { class: `badge ${state.status}`, text: state.status });
      $("#status").replaceChildren(badge);
      const charts = CHARTS.map((chart) => draw(chart, state.history)).filter(Boolean);
      $("#charts").replaceChildren(...charts);
      $("#no-history").hidden = state.history.length > 0;
      if (state.sheets.length && JSON.stringify(state.sheets) !== sheets) {
        const follows = !sheets || Number(place.value) === Number(place.max);
        sheets = JSON.stringify(state.sheets);
        place.max = state.sheets.length - 1;
        if (follows) place.value = place.max;
        $("#sheets").hidden = false;
        showSheet();
      }
      showEvents(state);
      if (!["running", "queued"].includes(state.status)) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 2000));
  }
}

function showEvents(state) {
  const live = state.history.filter((e) => e.kind === "guard" || e.kind === "rollback").map((e) => ({ step: e.step, kind: e.kind, ...e.values }));
  const events = live.length ? live : state.events;
  if (!events.length) return;
  const lines = events.map((e) =>
    element(
      "li",
      {},
      element("span", { class: "badge warn", text: e.name ?? e.kind }),
      element("span", { text: e.message ?? `back to step ${e.step}` }),
      element("span", { class: "quiet", text: `step ${e.step}` }),
    ),
  );
  $("#events").replaceChildren(...lines);
}

const SVG = "http://www.w3.org/2000/svg";
function svg(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function draw({ title, series, from }, history) {
  const lines = history.filter((e) => e.kind === from);
  const curves = series.map(([key, name]) => ({
    name,
    points: lines.filter((e) => Number.isFinite(e.values[key])).map((e) => [e.images_seen, e.values[key]]),
  }));
  const all = curves.flatMap((s) => s.points);
  if (!all.length) return null;
  const [width, height, left, bottom] = [460, 220, 46, 26];
  const xs = all.map((p) => p[0]);
  const ys = all.map((p) => p[1]);
  const [x1, y0, y1] = [Math.max(...xs), Math.min(0, ...ys), Math.max(...ys, 0)];
  const x0 = Math.min(...xs) === x1 ? 0 : Math.min(...xs);
  const px = (x) => left + ((x - x0) / (x1 - x0 || 1)) * (width - left - 8);
  const py = (y) => height - bottom - ((y - y0) / (y1 - y0 || 1)) * (height - bottom - 12);
  const last = curves.map((s) => `${s.name} ${s.points.length ? number(s.points.at(-1)[1]) : "–"}`).join(", ");
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}; at the end: ${last}` });
  for (let i = 0; i <= 4; i++) {
    const y = y0 + ((y1 - y0) * i) / 4;
    picture.append(svg("line", { class: "grid", x1: left, x2: width - 8, y1: py(y), y2: py(y) }));
    picture.append(svg("text", { x: left - 7, y: py(y) + 4, "text-anchor": "end" }, number(y)));
  }
  picture.append(svg("text", { x: left, y: height - 6 }, `${number(x0)} images seen`));
  picture.append(svg("text", { x: width - 8, y: height - 6, "text-anchor": "end" }, number(x1)));
  curves.forEach((s, i) => {
    if (s.points.length > 1) picture.append(svg("path", { class: `s${i}`, d: `M${s.points.map(([x, y]) => `${px(x).toFixed(1)} ${py(y).toFixed(1)}`).join("L")}` }));
    for (const [x, y] of s.points.length < 40 ? s.points : s.points.slice(-1)) picture.append(svg("circle", { class: `s${i}`, cx: px(x), cy: py(y), r: 3 }));
  });
  const legend = element("p", { class: "legend" }, ...curves.map((s, i) => element("span", { class: `k${i}`, text: s.name })));
  return element("figure", { class: "card chart" }, element("h3", { text: title }), picture, legend);
}

const number = (value) => (Math.abs(value) >= 10000 ? `${Math.round(value / 1000)}k` : Number(value.toPrecision(3)).toLocaleString());
