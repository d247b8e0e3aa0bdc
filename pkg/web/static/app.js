// SPDX-License-Identifier: GPL-2.0-only
"use strict";

const $ = (id) => document.getElementById(id);
const el = (name, attributes = {}, ...children) => {
  const e = document.createElement(name);
  Object.entries(attributes).forEach(([k, v]) => (k === "class" ? (e.className = v) : e.setAttribute(k, v)));
  e.append(...children); // texts stay texts: nothing that a client is called becomes HTML
  return e;
};

function human(n) {
  for (const unit of ["", "k", "M", "G", "T"]) {
    if (n < 9.95 && n !== Math.floor(n)) return n.toFixed(1) + unit;
    if (n < 999.5) return Math.round(n) + unit;
    n /= 1000;
  }
  return Math.round(n) + "P";
}
const bits = (n) => human(n).replace(/([kMGTP]?)$/, " $1bit/s");
const percent = (n) => Math.round(100 * n) + "%";
const delay = (s) => (s < 0 ? "-" : (1000 * s).toFixed(2) + " ms");

async function get(path) {
  const r = await fetch(path);
  if (r.status === 401) {
    show(false);
    throw new Error("log in first");
  }
  if (!r.ok) throw new Error(await r.text());
  return r.json();
}

// Rates between two samples, as pkg/observe makes them.
function view(before, now) {
  const seconds = before ? (Date.parse(now.time) - Date.parse(before.time)) / 1000 : 0;
  const rate = (a, b) => (seconds > 0 && b >= a ? (b - a) / seconds : 0);
  const each = (key, same, make) =>
    (now[key] || []).map((n) => make(((before && before[key]) || []).find((b) => same(b, n)) || n, n));
  const share = (a, b, all) => (all > 0 ? Math.min(1, Math.max(0, (b - a) / all)) : 0);
  return {
    interfaces: each("interfaces", (a, b) => a.name === b.name, (b, n) => ({
      ...n, rx: 8 * rate(b.rx_bytes, n.rx_bytes), tx: 8 * rate(b.tx_bytes, n.tx_bytes),
      rxp: rate(b.rx_packets, n.rx_packets), txp: rate(b.tx_packets, n.tx_packets), lost: rate(b.lost, n.lost) })),
    cpus: each("cpus", (a, b) => a.cpu === b.cpu, (b, n) => ({
      cpu: n.cpu, busy: share(b.busy, n.busy, n.ticks - b.ticks), softirq: share(b.softirq, n.softirq, n.ticks - b.ticks),
      packets: rate(b.xdp + b.tc + b.other, n.xdp + n.tc + n.other), dropped: rate(b.dropped, n.dropped) })),
    drops: Object.entries(now.drops || {}).filter(([, n]) => n > 0)
      .map(([reason, n]) => ({ reason: reason.replaceAll("_", " "), ever: n, rate: rate(((before && before.drops) || {})[reason] || 0, n) }))
      .sort((a, b) => b.rate - a.rate || b.ever - a.ever),
    queues: each("queues", (a, b) => a.interface === b.interface && a.parent === b.parent && a.kind === b.kind, (b, n) => ({
      ...n, marked: rate(b.marks, n.marks), dropped: rate(b.drops, n.drops), sent: rate(b.packets, n.packets) })),
    radios: each("radios", (a, b) => a.interface === b.interface, (b, n) => ({ ...n, use: n.active > 0 ? share(b.busy, n.busy, n.active - b.active) : -1 })),
    stations: each("stations", (a, b) => a.radio === b.radio && a.mac === b.mac, (b, n) => ({
      ...n, up: 8 * rate(b.received, n.received), down: 8 * rate(b.sent, n.sent), retried: rate(b.retries, n.retries),
      used: Math.min(1, rate(b.airtime, n.airtime) / 1e9) })),
    begun: before ? rate(before.flows.begun, now.flows.begun) : 0,
  };
}

// A table: columns are [name, value, text of it]; those of texts have no third part.
const sorted = {};
function table(id, title, columns, rows, warn) {
  const box = el("div", { class: "box", id: "t-" + id });
  if (title) box.append(el("h2", {}, title));
  const order = sorted[id];
  if (order) {
    rows = [...rows].sort((a, b) => {
      const [x, y] = [columns[order.column][1](a), columns[order.column][1](b)];
      return order.way * (typeof x === "number" ? y - x : String(x).localeCompare(String(y)));
    });
  }
  const head = el("tr");
  columns.forEach(([name, , text], i) => {
    const th = el("th", { class: text ? "" : "text" }, name + (order && order.column === i ? (order.way > 0 ? " ▾" : " ▴") : ""));
    th.addEventListener("click", () => {
      sorted[id] = { column: i, way: order && order.column === i ? -order.way : 1 };
      draw();
    });
    head.append(th);
  });
  const body = el("tbody");
  for (const r of rows) {
    const tr = el("tr", warn && warn(r) ? { class: "warn" } : {});
    for (const [name, value, text] of columns) {
      tr.append(el("td", { class: text ? "" : name === "Rule" ? "rule" : "text" }, String(text ? text(value(r)) : value(r))));
    }
    body.append(tr);
  }
  box.append(el("table", {}, el("thead", {}, head), body));
  if (rows.length === 0) box.append(el("small", {}, "nothing"));
  return box;
}

// A chart of one or two lists of numbers over time.
function chart(title, time, lines, text) {
  const box = el("div", { class: "box" }, el("h2", {}, title));
  const most = Math.max(1e-9, ...lines.flatMap((l) => l.values));
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "chart");
  svg.setAttribute("viewBox", "0 0 1000 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", title);
  const [first, last] = [time[0], time[time.length - 1]];
  for (const l of lines) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", l.style);
    path.setAttribute("d", l.values.map((v, i) => `${i ? "L" : "M"}${(1000 * (time[i] - first)) / Math.max(1, last - first)} ${98 - (95 * v) / most}`).join(""));
    svg.append(path);
  }
  const clock = (t) => new Date(1000 * t).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const names = lines.map((l) => el("span", { class: l.style }, l.name + " " + text(l.values[l.values.length - 1] || 0)));
  box.append(svg, el("div", { class: "key" }, el("span", {}, time.length ? clock(first) : ""), ...names, el("span", {}, "at most " + text(most > 1e-9 ? most : 0)), el("span", {}, time.length ? clock(last) : "")));
  return box;
}

let now, before, past, rules = [], flows = [];

function draw() {
  if (!now) return;
  const v = view(before, now);
  $("host").textContent = `${now.host}, ${now.version}, ${new Date(now.time).toLocaleTimeString()}`;
  $("problems").replaceChildren(...[...(now.attached ? [] : ["Detached: nothing is enforced."]), ...(now.problems || [])].map((p) => el("li", {}, p)));
  const f = now.flows;
  const hot = (now.temperatures || []).reduce((a, b) => (a && a.celsius > b.celsius ? a : b), null);
  const card = (name, value, more) => el("div", { class: "box" }, el("small", {}, name), el("b", {}, value), el("small", {}, more));
  $("cards").replaceChildren(
    card("Flows", human(f.confirmed), percent(f.confirmed / Math.max(1, f.max_confirmed)) + " of the table"),
    card("New flows", human(v.begun) + "/s", human(f.half_open) + " half open"),
    card("Drops", human(v.drops.reduce((a, d) => a + d.rate, 0)) + "/s", v.drops.length ? v.drops[0].reason : "none ever"),
    card("NAT ports", human(f.mappings), "in use"),
    card("Busiest CPU", percent(Math.max(0, ...v.cpus.map((c) => c.busy))), v.cpus.length + " handle packets"),
    ...(hot ? [card("Hottest", hot.celsius.toFixed(0) + " °C", hot.name)] : []),
  );
  if (past) {
    const sum = (lists) => past.time.map((_, i) => Object.values(lists).reduce((a, l) => a + (l[i] || 0), 0));
    $("charts").replaceChildren(
      chart("Throughput, all interfaces", past.time, [{ name: "in", style: "a", values: sum(past.in) }, { name: "out", style: "b", values: sum(past.out) }], bits),
      chart("Flows", past.time, [{ name: "confirmed", style: "a", values: past.flows || [] }], human),
      chart("Drops a second", past.time, [{ name: "now", style: "b", values: past.drops || [] }], human),
      chart("Busiest CPU", past.time, [{ name: "now", style: "a", values: past.busy || [] }], percent),
    );
  }
  $("tables").replaceChildren(
    table("links", "Interfaces", [["Interface", (i) => i.name], ["State", (i) => (i.up ? (i.xdp ? "up, XDP" : "up") : "down")], ["In", (i) => i.rx, bits], ["Out", (i) => i.tx, bits], ["Packets in", (i) => i.rxp, human], ["out", (i) => i.txp, human], ["Lost", (i) => i.lost, human]], v.interfaces, (i) => i.lost > 0),
    table("hosts", "Hosts", [["Host", (h) => h.address], ["Name", (h) => h.name || ""], ["Flows", (h) => h.flows, human], ["Up", (h) => h.up, bits], ["Down", (h) => h.down, bits]], (now.hosts || []).slice(0, 15)),
    table("talkers", "Flows that move most", [["From", (t) => t.src], ["To", (t) => t.dst], ["", (t) => t.protocol], ["Forth", (t) => t.forth, bits], ["Back", (t) => t.back, bits]], (now.talkers || []).slice(0, 15)),
    table("drops", "Drops by reason", [["Reason", (d) => d.reason], ["A second", (d) => d.rate, human], ["Ever", (d) => d.ever, human]], v.drops),
    table("cpus", "CPUs", [["CPU", (c) => c.cpu, String], ["Busy", (c) => c.busy, percent], ["Softirq", (c) => c.softirq, percent], ["Packets/s", (c) => c.packets, human], ["Dropped/s", (c) => c.dropped, human]], v.cpus, (c) => c.busy > 0.9),
    table("queues", "Queues", [["Interface", (q) => q.interface], ["Qdisc", (q) => q.kind], ["Parent", (q) => q.parent], ["Delay", (q) => q.delay, delay], ["Marks/s", (q) => q.marked, human], ["Drops/s", (q) => q.dropped, human]], v.queues, (q) => q.dropped > 0),
    ...(v.radios.length ? [table("radios", "Radios", [["Radio", (r) => r.interface], ["Channel", (r) => r.channel, String], ["Stations", (r) => r.stations, String], ["Channel busy", (r) => r.use, (u) => (u < 0 ? "-" : percent(u))]], v.radios)] : []),
    ...(v.stations.length ? [table("stations", "Stations", [["Station", (s) => s.name || s.mac], ["Radio", (s) => s.radio], ["Signal", (s) => s.signal || -1000, (d) => (d > -1000 ? d + " dBm" : "-")], ["Airtime", (s) => s.used, percent], ["Up", (s) => s.up, bits], ["Down", (s) => s.down, bits], ["Rate", (s) => s.send_rate, bits], ["Retries/s", (s) => s.retried, human]], v.stations, (s) => s.signal < -80)] : []),
    ...((now.services || []).length ? [table("services", "Services", [["Service", (s) => s.name], ["State", (s) => s.state], ["", (s) => s.text || ""]], now.services)] : []),
    ...((now.temperatures || []).length ? [table("sensors", "Temperatures", [["Sensor", (s) => s.name], ["", (s) => s.celsius, (c) => c.toFixed(1) + " °C"]], now.temperatures)] : []),
  );
  const only = $("rulefilter").value.toLowerCase();
  $("ruletable").replaceChildren(table("rules", "", [["Packets", (r) => r.packets, human], ["Bytes", (r) => r.bytes, human], ["Chain", (r) => r.table + " " + r.chain], ["Rule", (r) => r.text]],
    rules.filter((r) => (r.family + " " + r.table + " " + r.chain + " " + r.text).toLowerCase().includes(only)).slice(0, 1000)));
  $("flowtable").replaceChildren(table("flows", "", [["", (x) => x.protocol], ["State", (x) => x.state || (x.replied ? "" : "unreplied")], ["From", (x) => x.original.src], ["To", (x) => x.original.dst], ["Replies to", (x) => x.reply.dst], ["Bytes", (x) => x.original.bytes + x.reply.bytes, human], ["Age", (x) => x.age_ns / 1e9, (s) => human(s) + " s"]], flows));
}

let tab = "now";
async function update() {
  try {
    const s = await get("data/sample");
    if (!now || now.time !== s.time) [before, now] = [now, s];
    past = await get("data/history");
    if (tab === "rules") rules = await get("data/rules");
    draw();
  } catch (e) {
    if (!$("page").hidden) $("problems").replaceChildren(el("li", {}, "No answer: " + e.message));
  }
}

let timer;
function show(page) {
  $("page").hidden = !page;
  $("login").hidden = page;
  clearInterval(timer);
  if (page) {
    update();
    timer = setInterval(update, 2000);
  } else {
    $("token").focus();
  }
}

async function login(token) {
  const r = await fetch("login", { method: "POST", body: new URLSearchParams({ token }) });
  $("refused").textContent = r.ok ? "" : await r.text();
  show(r.ok);
}

$("login").addEventListener("submit", (e) => {
  e.preventDefault();
  login($("token").value);
});
function choose(name) {
  tab = name;
  document.querySelectorAll("nav button").forEach((x) => x.toggleAttribute("aria-current", x.dataset.tab === tab));
  document.querySelectorAll("main").forEach((m) => (m.hidden = m.id !== tab));
}
document.querySelectorAll("nav button").forEach((b) =>
  b.addEventListener("click", () => {
    choose(b.dataset.tab);
    update();
  }));
$("rulefilter").addEventListener("input", draw);
async function search() {
  try {
    const r = await get("data/flows?q=" + encodeURIComponent($("q").value.trim()));
    flows = r.flows;
    $("found").textContent = r.total > flows.length ? `the first ${flows.length} of ${r.total}` : `${r.total} flows`;
  } catch (err) {
    $("found").textContent = err.message;
  }
  draw();
}
$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  search();
});

// A link may have the token behind a #, which is not sent to the server as a part of it, a tab, and
// what to search there.
const given = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
async function begin() {
  if (given.get("token")) await login(given.get("token"));
  else await get("data/history").then(() => show(true), () => show(false));
  const wanted = given.get("tab");
  if ($("page").hidden || !["now", "rules", "flows"].includes(wanted)) return;
  choose(wanted);
  if (wanted === "rules") $("rulefilter").value = given.get("q") || "";
  if (wanted === "flows") {
    $("q").value = given.get("q") || "";
    await search();
  }
  update();
}
begin();
