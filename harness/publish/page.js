"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const board = data.document,
  entries = board.entries;
const CONTROL = "random-region",
  NAMED = 6;
const $ = id => document.getElementById(id);

// ------------------------------------------------------------------------------------- small tools
// Whatever comes from a run is set as text or as an attribute, never as markup.

function make(tag, text, parent) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}
function draw(tag, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}
/** Put text into a node, with the names among its parts in bold. */
function say(node, ...parts) {
  node.replaceChildren(
    ...parts.map(part => (typeof part === "string" ? part : make("strong", part.name))),
  );
  node.hidden = !parts.length;
}
/** Fill a select; one that leaves no choice is hidden. */
function options(select, values, chosen) {
  select.replaceChildren();
  for (const [value, text] of values) make("option", text, select).value = value;
  select.value = chosen;
  select.parentElement.hidden = values.length < 2;
}
const percent = share => (100 * share).toFixed(1);
const number = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const group = entry => column("origin").cells[entries.indexOf(entry)].split(",")[0].trim();
const kinds = entry =>
  ["bound", "tuned", "theirs"]
    .filter(kind => entry[kind])
    .map(kind => (kind === "theirs" ? group(entry) : kind));
const label = entry => [entry.strategy, ...kinds(entry).map(kind => `(${kind})`)].join(" ");
const list = names => names.flatMap((name, place) => (place ? [", ", { name }] : [{ name }]));
const column = key => data.columns.find(one => one.key === key);
const ranked = entries.filter(entry => !entry.bound);
const level = Object.keys(entries[0].clicks_to).at(-1);
const toLevel = entry => entry.clicks_to[level];
const toLevelText = entry => column(`clicks_to_${level}`).cells[entries.indexOf(entry)];
const toLevelPercent = entry => toLevelText(entry).replace(/^(> )?[\d.]+/, "$& %");

// ------------------------------------------------------------------------------- state, in the URL

const AXES = {
  clicks: ["clicks, % of the training set (cost B)", round => 100 * round.cost_b.mean, toLevel],
  pixels: [
    "labelled pixels, % of the training set",
    round => 100 * round.pixel_share,
    entry => entry.p95,
  ],
  hours: ["annotation hours", round => round.hours, () => undefined],
};
const START = {
  axis: "clicks",
  sort: "aubc_clicks",
  order: "falling",
  find: "",
  bounds: "shown",
  columns: "answers",
  strategy: (entries.find(hasPictures) || entries[0]).strategy,
  round: "",
  image: "",
  behind: "",
};
/** Say whether the page holds maps of a strategy: the first such is chosen at the start. */
function hasPictures(entry) {
  return !entry.bound && data.maps[entry.strategy].some(maps => Object.keys(maps).length);
}
let state;

/** Take what the address says; what the board does not know keeps its start. */
function readAddress() {
  const said = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
  const allowed = {
    axis: value => Object.hasOwn(AXES, value),
    sort: column,
    order: value => value === "rising",
    bounds: value => value === "hidden",
    columns: value => value === "all",
    strategy: value => Object.hasOwn(data.queries, value),
  };
  state = { ...START };
  for (const key of Object.keys(START))
    if (said.has(key) && (allowed[key] || (() => true))(said.get(key))) state[key] = said.get(key);
}
function keep(changes) {
  Object.assign(state, changes);
  const said = new URLSearchParams(
    Object.entries(state).filter(([key, value]) => value !== START[key]),
  );
  try {
    history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search);
  } catch {
    /* shown inside another page, which owns the address */
  }
}

// ------------------------------------------------------------------------------------------ answer

function answer() {
  fewest();
  const [first] = ranked,
    differing = board.pairs.filter(pair => pair.differs).length;
  if (!board.pairs.length) {
    say(
      $("equals"),
      ranked.length < 2
        ? "There are no two ranked strategies to compare."
        : "Who can be told apart was not tested; the reason stands under To know.",
    );
    say($("worse"));
    say($("pairs"));
    return;
  }
  const others = board.pairs.filter(
    pair => pair.first === first.strategy || pair.second === first.strategy,
  );
  const other = pair => (pair.first === first.strategy ? pair.second : pair.first);
  const equal = others.filter(pair => !pair.differs).map(other),
    worse = others.filter(pair => pair.differs).map(other);
  if (!differing)
    say(
      $("equals"),
      `By AUBC over clicks no strategy can be told apart from another: none of the ` +
        `${number(board.pairs.length, "pair")} differs. Their order in the table says nothing.`,
    );
  else if (equal.length)
    say(
      $("equals"),
      "By AUBC over clicks, ",
      { name: first.strategy },
      " comes first but cannot be told apart from ",
      ...list(equal),
      ".",
    );
  else
    say(
      $("equals"),
      "By AUBC over clicks, ",
      { name: first.strategy },
      " is demonstrably better than every other strategy.",
    );
  say(
    $("worse"),
    ...(differing && equal.length && worse.length
      ? ["Demonstrably worse than it: ", ...list(worse), "."]
      : []),
  );
  const pixels = board.pixel_pairs_differing;
  if (differing)
    say(
      $("pairs"),
      `${differing} of ${number(board.pairs.length, "pair")} differ over clicks, ` +
        `${pixels} over pixels (Holm's correction; To know says how).`,
    );
  else if (pixels) say($("pairs"), `Over pixels ${pixels} of them differ.`);
  else say($("pairs"), "Over pixels none of them differs either.");
}
/** Say who reaches the level with the fewest clicks, beside the control. */
function fewest() {
  const table = $("fewest"),
    control = ranked.find(entry => entry.strategy === CONTROL);
  table.hidden = true;
  if (board.threshold === null || !ranked.length) {
    say(
      $("headline"),
      board.threshold === null
        ? "Unknown: the runs hold no full-data reference yet."
        : "Only bounds are on this board.",
    );
    return;
  }
  const target = `${level} % of the full-data mIoU`;
  const reached = ranked
    .filter(entry => toLevel(entry).value !== null)
    .sort((a, b) => toLevel(a).value - toLevel(b).value);
  if (!reached.length) {
    const furthest = Math.max(...ranked.map(entry => toLevel(entry).beyond));
    say(
      $("headline"),
      `Nobody reaches ${target} in half of the seeds: the runs end before, ` +
        `at ${percent(furthest)} % of the clicks or earlier.`,
    );
    return;
  }
  const [best] = reached;
  const p = column("sooner_p").cells[entries.indexOf(best)],
    test = p === "-" ? "" : ` (log-rank test: p ${p.startsWith("<") ? p : `= ${p}`})`;
  const beside =
    control && control !== best
      ? [
          " ",
          { name: CONTROL },
          toLevel(control).value === null
            ? ` does not in half of its seeds: ${toLevelPercent(control)}${test}.`
            : ` needs ${toLevelPercent(control)}${test}.`,
        ]
      : [];
  const share =
    reached.length === ranked.length
      ? ""
      : ` ${reached.length} of ${ranked.length} strategies reach it in half of their seeds ` +
        "or more.";
  say(
    $("headline"),
    { name: best.strategy },
    ` reaches ${target} with the fewest clicks, in the median over seeds: ` +
      `${toLevelPercent(best)} of the training set's.`,
    ...beside,
    share,
  );
  const rows = reached.slice(0, NAMED);
  if (reached.indexOf(control) >= NAMED) rows[NAMED - 1] = control;
  const end = Math.max(...rows.map(entry => toLevel(entry).high ?? toLevel(entry).value)) * 1.04;
  table.hidden = false;
  table.caption.textContent =
    `Clicks to ${level} % of the full-data mIoU, % of the training set's: median over seeds ` +
    "[95 % interval, ? where it has no end] (seeds that reach it, if not all)";
  for (const entry of rows) {
    const line = table.tBodies[0].insertRow(),
      found = toLevel(entry);
    const name = make("th", entry.strategy, line);
    name.scope = "row";
    name.className = "name";
    figures(line.insertCell(), toLevelText(entry));
    const bar = draw(
      "svg",
      { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      line.insertCell(),
    );
    const across = share => (100 * share) / end;
    draw(
      "line",
      { x1: 0, x2: 100, y1: 5, y2: 5, class: "grid", "vector-effect": "non-scaling-stroke" },
      bar,
    );
    draw(
      "line",
      {
        x1: across(found.low ?? 0),
        x2: across(found.high ?? end),
        y1: 5,
        y2: 5,
        stroke: "var(--accent)",
        "stroke-width": 4,
        "stroke-opacity": 0.5,
        "vector-effect": "non-scaling-stroke",
      },
      bar,
    );
    draw(
      "line",
      {
        x1: across(found.value),
        x2: across(found.value),
        y1: 0,
        y2: 10,
        stroke: "var(--fg)",
        "stroke-width": 3,
        "vector-effect": "non-scaling-stroke",
      },
      bar,
    );
  }
}
/** Write a figure and its spread, interval or seeds; each may go onto a line of its own. */
function figures(cell, text) {
  const [value, ...asides] = text.split(/ (?=[±[(])/);
  cell.append(value);
  for (const aside of asides) {
    cell.append(" ");
    make("span", aside, cell).className = "soft";
  }
}

// ------------------------------------------------------------------------------------------- table

const RISES = /^(rank|strategy|clicks|sooner|p95|hours)/;
function shown() {
  const wanted = state.find.toLowerCase(),
    by = column(state.sort);
  const value = index => (by.key === "strategy" ? entries[index].strategy : by.values[index]);
  const compare = (a, b) => {
    const x = value(a),
      y = value(b);
    // what has no value comes last in every order
    if (x === null || y === null) return (x === null) - (y === null) || a - b;
    const order = x < y ? -1 : x > y ? 1 : 0;
    return (state.order === "rising" ? order : -order) || a - b;
  };
  return entries
    .map((_, index) => index)
    .filter(
      index =>
        label(entries[index]).toLowerCase().includes(wanted) &&
        (state.bounds === "shown" || !entries[index].bound),
    )
    .sort((a, b) => entries[a].bound - entries[b].bound || compare(a, b));
}
function table() {
  const head = $("board").tHead,
    body = $("board").tBodies[0],
    all = state.columns === "all";
  const columns = data.columns.filter(one => one.answers || all),
    rows = shown(),
    styles = styled();
  $("board").classList.toggle("wide", all);
  head.replaceChildren();
  body.replaceChildren();
  const row = head.insertRow();
  for (const { key, title } of columns) {
    const cell = make("th", undefined, row),
      button = make("button", title, cell);
    cell.scope = "col";
    button.type = "button";
    button.dataset.key = key;
    if (key === "strategy") cell.className = "name";
    if (key === state.sort)
      cell.setAttribute("aria-sort", state.order === "rising" ? "ascending" : "descending");
    button.onclick = () => {
      const rises = key === state.sort ? state.order !== "rising" : RISES.test(key);
      keep({ sort: key, order: rises ? "rising" : "falling" });
      table();
      $("board").querySelector(`[data-key="${key}"]`).focus();
    };
  }
  for (const index of rows) {
    const entry = entries[index],
      line = body.insertRow();
    line.dataset.strategy = entry.strategy;
    line.classList.toggle("chosen", entry.strategy === state.strategy);
    line.onclick = () => choose(entry.strategy);
    for (const one of columns) {
      if (one.key !== "strategy") {
        figures(line.insertCell(), one.cells[index]);
        continue;
      }
      const cell = make("th", undefined, line);
      cell.scope = "row";
      cell.className = "name";
      const who = make("div", undefined, cell);
      key(styles.get(entry), who);
      const button = make("button", entry.strategy, who);
      button.type = "button";
      button.title = entry.equation;
      button.setAttribute("aria-pressed", String(entry.strategy === state.strategy));
      button.onclick = event => {
        event.stopPropagation();
        choose(entry.strategy);
        body.querySelector("tr.chosen button")?.focus();
      };
      for (const kind of kinds(entry)) make("span", kind, who).className = "badge";
    }
  }
  if (!rows.length) {
    const cell = body.insertRow().insertCell();
    cell.colSpan = columns.length;
    cell.textContent = `no strategy of this board has “${state.find}” in its name`;
  }
}

// ------------------------------------------------------------------------------------------- chart

/** Choose how each shown strategy is drawn.
 *
 * The first five and the control in colours of their own, bounds dotted, the rest in grey.
 */
function styled() {
  const kept = new Set(shown()),
    seen = entries.filter((_, index) => kept.has(index)),
    own = seen.filter(entry => !entry.bound);
  const others = own.filter(entry => entry.strategy !== CONTROL),
    control = own.filter(entry => entry.strategy === CONTROL);
  const coloured = [...others.slice(0, NAMED - control.length), ...control];
  return new Map(
    seen.map(entry => {
      const place = coloured.indexOf(entry),
        picked = entry.strategy === state.strategy;
      const dash = entry.bound ? "2 4" : entry.strategy.startsWith("random") ? "8 4" : "none";
      const named = place >= 0 || picked || entry.bound;
      let stroke = "var(--other)";
      if (place >= 0) stroke = `var(--c${place})`;
      else if (picked) stroke = "var(--fg)";
      else if (entry.bound) stroke = "var(--soft)";
      return [entry, { stroke, dash, picked, named }];
    }),
  );
}
function key(style, parent) {
  const box = draw(
    "svg",
    { viewBox: "0 0 24 10", class: style.named ? "key" : "key other", "aria-hidden": "true" },
    parent,
  );
  draw(
    "line",
    { x1: 0, x2: 24, y1: 5, y2: 5, stroke: style.stroke, "stroke-dasharray": style.dash },
    box,
  );
}
/** Return round steps that cover a range. */
function ticks(low, high, most) {
  const raw = (high - low || 1) / most,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(factor => factor * power).find(one => one >= raw);
  const found = [];
  for (let place = Math.ceil(low / step); place * step <= high + 1e-9; place++)
    found.push(Number((place * step).toPrecision(6)));
  return found;
}
/** Move falling heights apart until neighbours are a line apart, none below the bottom. */
function apart(heights, line, bottom) {
  const places = [];
  for (const height of heights)
    places.push(places.length ? Math.max(height, places.at(-1) + line) : height);
  for (let place = places.length - 1; place >= 0; place--)
    places[place] = Math.min(
      places[place],
      place + 1 < places.length ? places[place + 1] - line : bottom,
    );
  return places;
}
function curves() {
  const svg = $("curves"),
    styles = styled(),
    seen = [...styles.keys()],
    [title, budget, crossing] = AXES[state.axis];
  const width = Math.max(svg.parentElement.clientWidth, 280),
    narrow = width < 640,
    height = narrow ? 300 : 420;
  svg.replaceChildren();
  $("legend").replaceChildren();
  $("legend").hidden = !narrow;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.setAttribute(
    "aria-label",
    `mIoU on val over ${title}; strategies shown: ${seen.length}; the table holds the figures`,
  );
  svg.onpointermove = svg.onpointerdown = svg.onpointerleave = svg.onclick = null;
  say($("readout"), "Point at a curve for its figures, or choose a strategy in the table.");
  if (!seen.length) return;
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const labelled = seen.filter(entry => styles.get(entry).named);
  const room = narrow
    ? 26
    : Math.min(
        Math.max(0, ...labelled.map(entry => pen.measureText(label(entry)).width)) + 34,
        width * 0.34,
      );
  const threshold = board.threshold === null ? [] : [100 * board.threshold];
  const xs = seen.flatMap(entry => entry.rounds.map(budget)),
    ys = [...threshold, ...seen.flatMap(entry => entry.rounds.map(round => 100 * round.miou.mean))];
  const x1 = Math.max(...xs) || 1,
    pad = (Math.max(...ys) - Math.min(...ys)) * 0.05 || 1,
    y0 = Math.min(...ys) - pad,
    y1 = Math.max(...ys) + pad;
  const [left, right, top, bottom] = [44, width - room, 8, height - 42];
  const px = value => left + (value / x1) * (right - left),
    py = value => bottom - ((value - y0) / (y1 - y0)) * (bottom - top);
  for (const y of ticks(y0, y1, 6)) {
    draw("line", { x1: left, x2: right, y1: py(y), y2: py(y), class: "grid" }, svg);
    draw("text", { x: left - 6, y: py(y) + 4, "text-anchor": "end" }, svg, String(y));
  }
  for (const x of ticks(0, x1, narrow ? 5 : 8))
    draw("text", { x: px(x), y: bottom + 17, "text-anchor": "middle" }, svg, String(x));
  draw("text", { x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, svg, title);
  draw(
    "text",
    {
      x: 12,
      y: (top + bottom) / 2,
      "text-anchor": "middle",
      transform: `rotate(-90 12 ${(top + bottom) / 2})`,
    },
    svg,
    "mIoU on val, %",
  );
  const points = [],
    clip = y => Math.min(Math.max(y, top), bottom);
  const back = draw("g", {}, svg),
    front = draw("g", {}, svg),
    names = draw("g", {}, svg);
  for (const y of threshold) {
    draw("line", { x1: left, x2: right, y1: py(y), y2: py(y), class: "level" }, back);
    draw(
      "text",
      { x: left + 4, y: py(y) - 5, class: "halo" },
      names,
      `${level} % of full-data mIoU: ${y.toFixed(1)}`,
    );
  }
  const order = [...seen].sort(
    (a, b) =>
      styles.get(a).named - styles.get(b).named || styles.get(a).picked - styles.get(b).picked,
  );
  for (const entry of order) {
    const { stroke, dash, picked, named } = styles.get(entry);
    const at = entry.rounds.map(round => [px(budget(round)), py(100 * round.miou.mean)]);
    if (named && entry.rounds.every(round => round.miou.std !== null)) {
      const edge = sign =>
        entry.rounds.map(
          round =>
            `${px(budget(round))},${clip(py(100 * (round.miou.mean + sign * round.miou.std)))}`,
        );
      draw(
        "polygon",
        {
          points: [...edge(1), ...edge(-1).reverse()].join(" "),
          class: "band" + (picked ? " lit" : ""),
          fill: stroke,
          "data-strategy": entry.strategy,
        },
        back,
      );
    }
    draw(
      "polyline",
      {
        points: at.join(" "),
        class: `curve${named ? "" : " other"}${picked ? " lit" : ""}`,
        stroke,
        "stroke-dasharray": dash,
        "data-strategy": entry.strategy,
      },
      front,
    );
    const found = threshold.length ? crossing(entry) : undefined;
    if (picked && found && found.value !== null) {
      const y = py(threshold[0]),
        to = share => Math.min(px(100 * share), right);
      draw(
        "line",
        {
          x1: to(found.low ?? 0),
          x2: found.high === null ? right : to(found.high),
          y1: y,
          y2: y,
          stroke,
          class: "interval",
        },
        front,
      );
      draw("circle", { cx: to(found.value), cy: y, r: 5, fill: stroke }, front);
    }
    entry.rounds.forEach((round, place) =>
      points.push({ entry, round, place, x: at[place][0], y: at[place][1], stroke }),
    );
  }
  endLabels(
    labelled.map(entry => [entry, points.findLast(point => point.entry === entry)]),
    styles,
    names,
    { right, bottom, narrow, width },
  );
  const dot = draw(
    "circle",
    { r: 5, fill: "none", stroke: "var(--fg)", "stroke-width": 2, cx: -9, cy: -9 },
    svg,
  );
  const near = event => {
    const box = svg.getBoundingClientRect(),
      x = event.clientX - box.left,
      y = event.clientY - box.top,
      far = point => (point.x - x) ** 2 + (point.y - y) ** 2;
    return points.reduce((best, point) => (far(point) < far(best) ? point : best));
  };
  const light = (strategy, isPointedAt) =>
    svg.querySelectorAll("[data-strategy]").forEach(node => {
      const isIt = node.dataset.strategy === strategy;
      node.classList.toggle("lit", isIt);
      node.classList.toggle("dim", isPointedAt && !isIt);
    });
  svg.onpointermove = svg.onpointerdown = event => {
    const { entry, round, place, x, y } = near(event);
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    light(entry.strategy, true);
    say($("readout"), { name: label(entry) }, `, round ${place}: ${said(round)}.`);
  };
  svg.onpointerleave = () => {
    dot.setAttribute("cx", -9);
    light(state.strategy, false);
  };
  svg.onclick = event => choose(near(event).entry.strategy);
}
/** Write names where curves end; numbers, with a legend below, where there is no room for names. */
function endLabels(ends, styles, parent, { right, bottom, narrow, width }) {
  const falling = ends.sort(([, a], [, b]) => a.y - b.y),
    places = apart(
      falling.map(([, end]) => end.y),
      15,
      bottom - 4,
    );
  falling.forEach(([entry, end], place) => {
    const { stroke, picked } = styles.get(entry),
      text = narrow ? String(place + 1) : label(entry);
    draw(
      "polyline",
      {
        points: `${end.x},${end.y} ${right + 4},${places[place]} ${right + 10},${places[place]}`,
        class: "lead",
        stroke,
      },
      parent,
    );
    const name = draw(
      "text",
      { x: right + 14, y: places[place] + 4, "font-weight": picked ? "bold" : "normal" },
      parent,
      text,
    );
    const space = width - right - 16;
    if (!narrow && name.getComputedTextLength() > space) {
      name.setAttribute("textLength", space);
      name.setAttribute("lengthAdjust", "spacingAndGlyphs");
    }
    if (!narrow) return;
    const item = make("li", undefined, $("legend"));
    key(styles.get(entry), item);
    item.append(` ${place + 1} ${label(entry)}`);
  });
}
const spread = ({ mean, std }) => percent(mean) + (std === null ? "" : ` ± ${percent(std)}`);
const said = round =>
  `mIoU ${spread(round.miou)} at ${percent(round.pixel_share)} % of the pixels, ` +
  `${spread(round.cost_b)} % of the clicks, ${round.hours.toFixed(1)} hours`;

// ----------------------------------------------------------------------------------------- windows

/** Show another strategy: in the chart, in the table, and what it asked for. */
function choose(strategy) {
  keep({ strategy });
  table();
  curves();
  asked();
}
function asked() {
  const queries = data.queries[state.strategy],
    mapped = data.maps[state.strategy],
    counts = data.asked[state.strategy];
  const filled = queries.map((_, round) => round).filter(round => counts[round]);
  const hasMaps = round => Object.keys(mapped[round]).length > 0;
  const round =
    filled.find(one => String(one) === state.round) ?? filled.findLast(hasMaps) ?? filled.at(-1);
  const query = queries[round],
    maps = mapped[round];
  const windows = new Map();
  for (const [index] of query)
    windows.set(data.images[index], (windows.get(data.images[index]) || 0) + 1);
  const isMapped = image => Object.hasOwn(maps, image);
  const images = [...windows].sort(([a], [b]) => isMapped(b) - isMapped(a));
  const image = windows.has(state.image) ? state.image : images[0]?.[0];
  options(
    $("strategy"),
    entries.map(entry => [entry.strategy, label(entry)]),
    state.strategy,
  );
  options(
    $("round"),
    filled.map(one => [one, `${one}${hasMaps(one) ? ", with maps" : ""}`]),
    round,
  );
  options(
    $("image"),
    images.map(([one, count]) => [
      one,
      `${one}: ${number(count, "window")}${isMapped(one) ? ", with maps" : ""}`,
    ]),
    image,
  );
  const entry = entries.find(one => one.strategy === state.strategy),
    missing = counts[round] - query.length;
  say(
    $("bill"),
    { name: label(entry) },
    ` (${entry.equation}), round ${round}: ${number(counts[round], "window")} in seed ` +
      data.seeds[state.strategy] +
      (missing ? `, the first ${query.length} of them in this page` : "") +
      `; then ${said(entry.rounds[round])}, means over seeds.`,
  );
  $("picture").hidden = !images.length;
  if (images.length) picture(image, query, isMapped(image) ? maps[image] : {}, hasMaps(round));
  else options($("layer"), [], "");
}
/** Draw one image's windows, with what the page holds behind them, and their bills. */
function picture(image, query, maps, mapped) {
  const svg = $("windows"),
    table = $("receipts"),
    [height, width] = data.size,
    photo = Object.hasOwn(data.photos, image) && data.photos[image];
  const layers = [
    ["photograph", "photograph", photo],
    ["information", "information, nats", maps.information],
    ["cost", "predicted clicks", maps.cost],
    ["score", "fused score", maps.score],
  ].filter(([, , there]) => there);
  const wanted = layers.find(([name]) => name === state.behind) || layers[0];
  options(
    $("layer"),
    layers.map(([name, text]) => [name, text]),
    wanted ? wanted[0] : "",
  );
  svg.replaceChildren();
  table.tBodies[0].replaceChildren();
  table.tHead.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (photo) draw("image", { href: photo, width, height, "data-layer": "photograph" }, svg);
  if (!wanted)
    $("behind").textContent = mapped
      ? "Behind these windows the page holds no map; images with maps are marked as such."
      : "Behind these windows the page holds neither photograph nor map; their places and bills " +
        "are complete.";
  else if (wanted[0] === "photograph")
    $("behind").textContent = "The photograph. Numbers are those of the bills.";
  else {
    const [name, text, map] = wanted,
      [top, left, high, wide] = maps.box;
    draw(
      "image",
      {
        href: "data:image/png;base64," + map.png,
        x: left,
        y: top,
        width: wide,
        height: high,
        preserveAspectRatio: "none",
        "image-rendering": "pixelated",
        "data-layer": name,
      },
      svg,
    );
    $("behind").textContent =
      `${text[0].toUpperCase()}${text.slice(1)}: dark is ${brief(map.low)}, light is ` +
      `${brief(map.high)}; each place stands for the region around it` +
      (name === "score" ? ", black where none may be asked for" : "") +
      ". Numbers are those of the bills.";
  }
  const bought = query.filter(([index]) => data.images[index] === image);
  const parts = [
    ["window", (_, place) => place + 1],
    ["top, left", window => `${window[1]}, ${window[2]}`],
    ["size", window => `${window[3]} × ${window[4]}`],
    ["score", window => brief(window[5])],
    ["information", window => brief(window[6])],
    ["predicted", window => brief(window[7])],
    ["c_p", window => window[8]],
    ["c_i", window => window[9]],
    ["c_b", window => window[10]],
  ].filter(([, text]) => bought.some((window, place) => text(window, place) !== "-"));
  const row = table.tHead.insertRow();
  for (const [name] of parts) make("th", name, row).scope = "col";
  svg.setAttribute(
    "aria-label",
    `${image}: ${number(bought.length, "window")} asked for` +
      (wanted ? `, ${wanted[1]} behind` : "") +
      "; their places stand in the table beside it",
  );
  bought.forEach((window, place) => {
    const [, top, left, high, wide] = window;
    const shape = draw(
      "rect",
      { x: left, y: top, width: wide, height: high, class: "window", "stroke-width": width / 200 },
      svg,
    );
    draw(
      "text",
      {
        x: left + width / 100,
        y: top + width / 28,
        "font-size": width / 30,
        "stroke-width": width / 200,
      },
      svg,
      place + 1,
    );
    const line = table.tBodies[0].insertRow();
    for (const [, text] of parts) make("td", text(window, place), line);
    line.onmouseenter = () => shape.classList.add("lit");
    line.onmouseleave = () => shape.classList.remove("lit");
  });
}
const brief = value => (value === null ? "-" : String(Number(Number(value).toPrecision(4))));

// ------------------------------------------------------------------------------------------- start

function page() {
  document.title = $("title").textContent = `Leaderboard: ${board.name}`;
  for (const mark of board.marks) make("li", mark, $("marks")).className = "badge";
  $("marks").hidden = !board.marks.length;
  const isWarning = note => note.startsWith("WARNING: ");
  for (const note of board.notes.filter(isWarning))
    make("p", note, $("warnings")).className = "warning";
  for (const note of board.notes.filter(note => !isWarning(note))) make("li", note, $("notes"));
  for (const [href, text] of data.links)
    make("a", text, make("li", undefined, $("links"))).href = href;
  $("bounds-label").hidden = !entries.some(entry => entry.bound);
  $("lead").textContent =
    "Percent; mean ± standard deviation, or median [95 % interval] over seeds. " +
    (board.budget_unit === "clicks"
      ? "Equal clicks are enforced; pixels are what happens."
      : "Equal pixels are enforced; clicks are what happens.") +
    " A rank is the interval of places that a strategy may have; bounds use what no annotator " +
    "could know and have none.";
  say(
    $("reading"),
    `Means over seeds; bands are one standard deviation. Where the chosen curve meets the ` +
      `${level} % line: the median over seeds and its 95 % interval.`,
  );
  $("reading").hidden = board.threshold === null;
  answer();
}
function show() {
  options(
    $("axis"),
    Object.keys(AXES).map(name => [
      name,
      { clicks: "clicks", pixels: "labelled pixels", hours: "annotation hours" }[name],
    ]),
    state.axis,
  );
  $("find").value = state.find;
  $("bounds").checked = state.bounds === "shown";
  $("all").checked = state.columns === "all";
  table();
  curves();
  asked();
}
$("find").oninput = () => {
  keep({ find: $("find").value });
  table();
  curves();
};
$("bounds").onchange = () => {
  keep({ bounds: $("bounds").checked ? "shown" : "hidden" });
  table();
  curves();
};
$("all").onchange = () => {
  keep({ columns: $("all").checked ? "all" : "answers" });
  if (!$("all").checked && !column(state.sort).answers)
    keep({ sort: START.sort, order: START.order });
  table();
  curves();
};
$("axis").onchange = () => {
  keep({ axis: $("axis").value });
  curves();
};
$("strategy").onchange = () => choose($("strategy").value);
$("round").onchange = () => {
  keep({ round: $("round").value });
  asked();
};
$("image").onchange = () => {
  keep({ image: $("image").value });
  asked();
};
$("layer").onchange = () => {
  keep({ behind: $("layer").value });
  asked();
};
for (const link of document.querySelectorAll("header nav a"))
  link.onclick = event => {
    event.preventDefault();
    const part = document.querySelector(link.hash);
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  };
window.onhashchange = () => {
  readAddress();
  show();
};
let drawn = 0;
new ResizeObserver(([change]) => {
  const width = Math.round(change.contentRect.width);
  if (width !== drawn) {
    drawn = width;
    curves();
  }
}).observe($("curves").parentElement);
page();
readAddress();
show();
