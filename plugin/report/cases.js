"use strict";
// The viewer of cases: filter, sort, search, page through, and link to them.
(() => {
  const PAGE = 50, MOST_PRINTED = 200, MOST_GROUPS = 500, MOST_NAMED = 24;
  const ALL = -1, NO_GROUP = -2;
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("case-data").textContent);
  const { cases, variants, groups } = data;
  const { anchor, card, columns, count, element, lookFor, name, plain, wellFormed } = caseCards(data);
  const isAlone = variants.length < 2;
  const flagPlace = Object.fromEntries(data.flags.map(([key], place) => [key, place]));
  const OF_BASE = ["failed", "cut off", "empty", "repeated"].map((key) => flagPlace[key]);

  const state = { query: "", group: ALL, outcome: ALL, page: 0, against: "base", isPrinting: false };
  let chosen = data.rivals; // places of the variants that outcomes and gains are about
  let shown = []; // places of the cases that pass the filters, sorted
  let current = null; // the case that the keys are about
  let marks = []; // of each case, its flags as bits
  const opened = new Set(); // cases with their differences shown

  // ---- what a case is filtered and sorted by

  function markCases() {
    marks = cases.map((item) => {
      let bits = item.failed ? 1 << flagPlace.failed : 0;
      for (const place of chosen) for (const flag of item.variants[place].flags || []) bits |= 1 << flag;
      for (const flag of item.variants[0].flags || []) if (OF_BASE.includes(flag)) bits |= 1 << flag;
      return bits;
    });
  }

  const flagsOf = (place) => data.flags.map((_, flag) => flag).filter((flag) => marks[place] & (1 << flag));

  const texts = new Map(); // case -> what the search looks through
  function searched(place) {
    if (!texts.has(place)) {
      const item = cases[place], places = [item.input, ...(item.expected || [])];
      for (const { answer, thoughts } of item.variants) places.push(answer, thoughts);
      const said = places.filter((text) => text !== undefined).map((text) => data.texts[text]);
      texts.set(place, plain([item.id, ...said].join("\n")));
    }
    return texts.get(place);
  }

  function known(item, field) {
    const asked = chosen.length ? chosen : [0];
    return asked.map((place) => item.variants[place][field]).filter((value) => value !== undefined);
  }
  const least = (values) => (values.length ? Math.min(...values) : null);
  const most = (values) => (values.length ? Math.max(...values) : null);
  const length = (item) => most(item.variants.map(({ answer }) =>
    (answer === undefined ? 0 : data.texts[answer].length)));
  const worth = isAlone ? "worth" : "gain";
  const down = (value) => (value === null ? null : -value);
  const collator = new Intl.Collator("en", { numeric: true });
  const byId = (one, other) => collator.compare(cases[one].id, cases[other].id) || one - other;

  // Key -> label and what to sort by, smallest first; null comes last.
  const SORTS = {
    worst: [isAlone ? "lowest score" : "largest loss", (item) => least(known(item, worth))],
    best: [isAlone ? "highest score" : "largest gain", (item) => down(most(known(item, worth)))],
    apart: ["metrics disagree most", (item) => down(most(known(item, "apart")))],
    long: ["longest answer", (item) => down(length(item))],
    short: ["shortest answer", length],
    id: ["id", null],
    source: ["order of the data", () => 0],
  };

  function sortShown() {
    const rank = SORTS[at("case-sort").value][1];
    if (!rank) return shown.sort(byId);
    const ranks = new Map(shown.map((place) => [place, rank(cases[place])]));
    return shown.sort((one, other) => {
      const a = ranks.get(one), b = ranks.get(other);
      if (a === null || b === null) return (a === null) - (b === null) || one - other;
      return a - b || one - other;
    });
  }

  // ---- filters

  const groupOf = (place) => (cases[place].group === undefined ? NO_GROUP : cases[place].group);
  const inGroup = (place) => state.group === ALL || groupOf(place) === state.group;
  const hasOutcome = (place) => state.outcome === ALL || (marks[place] & (1 << state.outcome)) !== 0;

  function filterCases() {
    const query = plain(state.query.trim());
    const hits = cases.map((_, place) => place).filter((place) => !query || searched(place).includes(query));
    const here = hits.filter(inGroup);
    countOutcomes(here);
    countGroups(hits.filter(hasOutcome));
    shown = here.filter(hasOutcome);
    sortShown();
  }

  function countOutcomes(places) {
    for (const input of at("case-outcomes").querySelectorAll("input")) {
      const flag = Number(input.value);
      const n = flag === ALL ? places.length : places.filter((place) => marks[place] & (1 << flag)).length;
      input.labels[0].querySelector(".amount").textContent = n.toLocaleString("en-US");
    }
  }

  const groupName = (group) => (group === NO_GROUP ? "no group" : groups[group]);

  function countGroups(places) {
    const amounts = new Map();
    for (const place of places) amounts.set(groupOf(place), (amounts.get(groupOf(place)) || 0) + 1);
    for (const option of at("case-group").options) {
      const group = Number(option.value), n = group === ALL ? places.length : amounts.get(group) || 0;
      const title = group === ALL ? "all" : `\u2068${groupName(group)}\u2069`;
      option.textContent = `${title} (${n.toLocaleString("en-US")})`;
    }
    const line = at("case-by-group");
    line.replaceChildren();
    if (state.outcome === ALL || amounts.size < 1 || groups.length < 1) return;
    const [, sign, label] = data.flags[state.outcome];
    const sorted = [...amounts].sort((one, other) => other[1] - one[1]);
    line.append(`${sign} ${label}, by group: `, ...sorted.slice(0, MOST_NAMED).flatMap(([group, n]) => {
      const button = element("button", { type: "button", "aria-pressed": String(state.group === group) },
        name(groupName(group)), ` ${n.toLocaleString("en-US")}`);
      button.dataset.group = group;
      button.addEventListener("click", () => {
        change({ group: state.group === group ? ALL : group });
        const again = line.querySelector(`[data-group="${group}"]`); // the line was made anew
        if (again) again.focus();
      });
      return [button, " "];
    }));
    if (sorted.length > MOST_NAMED) line.append(`and ${sorted.length - MOST_NAMED} more groups`);
  }

  // ---- showing

  function options(place) {
    return { flags: flagsOf(place), differs: opened.has(place), against: state.against, isPrinting: state.isPrinting };
  }

  const canDiffer = (item) => item.variants.some(({ answer }, place) => answer !== undefined
    && (state.against === "expected" ? item.expected : place && item.variants[0].answer !== undefined));

  function makeCard(place) {
    const made = card(cases[place], options(place));
    made.dataset.place = place;
    if (!state.isPrinting && canDiffer(cases[place])) {
      const button = element("button", { type: "button", class: "differ" }, "Show differences");
      button.setAttribute("aria-pressed", String(opened.has(place)));
      button.addEventListener("click", () => differ(place));
      made.querySelector("header").append(button);
    }
    return made;
  }

  function draw() {
    lookFor(state.query.trim());
    const first = state.page * PAGE;
    const here = state.isPrinting ? shown.slice(0, MOST_PRINTED) : shown.slice(first, first + PAGE);
    at("case-list").replaceChildren(...here.map(makeCard));
    for (const nav of document.querySelectorAll(".case-pages")) {
      nav.hidden = shown.length <= PAGE;
      const [back, on] = nav.querySelectorAll("button");
      back.disabled = state.page === 0;
      on.disabled = first + PAGE >= shown.length;
      nav.querySelector("span").textContent =
        `${(first + 1).toLocaleString("en-US")} to ${(first + here.length).toLocaleString("en-US")} `
        + `of ${shown.length.toLocaleString("en-US")}`;
    }
    const printed = at("case-printed");
    printed.hidden = !state.isPrinting || shown.length <= MOST_PRINTED;
    printed.textContent = `Printed are the first ${MOST_PRINTED} of these ${count(shown.length, "case", "cases")}.`;
    markHits();
  }

  function tell(before = "") {
    const parts = [];
    if (state.query.trim()) parts.push(`contain \u201c\u2068${state.query.trim()}\u2069\u201d`);
    if (state.group !== ALL) parts.push(`group \u2068${groupName(state.group)}\u2069`);
    if (state.outcome !== ALL) parts.push(data.flags[state.outcome][2]);
    const what = parts.length ? `: ${parts.join("; ")}` : "";
    const total = count(cases.length, "case", "cases");
    const n = shown.length === cases.length && !parts.length ? "All" : `${shown.length.toLocaleString("en-US")} of`;
    at("case-count").textContent = `${before}${n} ${total}${what}`;
    at("case-clear").hidden = !parts.length;
  }

  // Take in what the reader chose, and show the first page of it.
  function change(news) {
    Object.assign(state, news, { page: 0 });
    current = null;
    at("case-search").value = state.query;
    at("case-group").value = String(state.group);
    for (const input of at("case-outcomes").querySelectorAll("input")) {
      input.checked = Number(input.value) === state.outcome;
    }
    filterCases();
    draw();
    tell();
  }

  function markHits() {
    if (typeof Highlight === "undefined" || !CSS.highlights) return; // an older browser
    CSS.highlights.delete("case-hits");
    const query = plain(state.query.trim()), found = [];
    if (!query || state.isPrinting) return;
    const walker = document.createTreeWalker(at("case-list"), NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode, text = node.data.toLowerCase();
      if (text.length !== node.data.length || !node.parentElement.closest(".said, h3")) continue;
      for (let from = text.indexOf(query); from >= 0; from = text.indexOf(query, from + query.length)) {
        const range = new Range();
        range.setStart(node, from);
        range.setEnd(node, from + query.length);
        found.push(range);
      }
    }
    CSS.highlights.set("case-hits", new Highlight(...found.slice(0, 5000)));
  }

  // ---- one case

  const articleOf = (place) => at("case-list").querySelector(`[data-place="${place}"]`);

  function goTo(rank) {
    if (rank < 0 || rank >= shown.length) return;
    const page = Math.floor(rank / PAGE);
    if (page !== state.page) {
      state.page = page;
      draw();
    }
    current = shown[rank];
    const article = articleOf(current);
    article.focus({ preventScroll: true });
    article.scrollIntoView({ block: "start" });
  }

  function step(by) {
    const rank = shown.indexOf(current);
    goTo(rank < 0 ? state.page * PAGE : rank + by);
  }

  function differ(place) {
    if (opened.has(place)) opened.delete(place);
    else opened.add(place);
    const article = articleOf(place), button = article && article.querySelector(".differ");
    if (!button) return;
    button.setAttribute("aria-pressed", String(opened.has(place)));
    article.querySelector(".columns").replaceWith(columns(cases[place], options(place)));
    markHits();
  }

  // Go to the case that a link such as #case-17 names; return whether it is such a link.
  function follow(hash) {
    if (!hash.startsWith("#case-")) return false;
    let id = hash.slice("#case-".length);
    try {
      id = decodeURIComponent(id);
    } catch {
      // not encoded as links of this page are: take it as it is
    }
    const place = cases.findIndex((item) => wellFormed(item.id) === id);
    if (place < 0) {
      if (at(hash.slice(1))) return false; // a part of the viewer
      tell(`There is no case \u2068${id}\u2069. `);
      at("case-count").scrollIntoView({ block: "center" }); // the reader is at the top of the page
      return true;
    }
    let before = "";
    if (!shown.includes(place)) {
      change({ query: "", group: ALL, outcome: ALL });
      before = `The filters were cleared to show case \u2068${id}\u2069. `;
    }
    goTo(shown.indexOf(place));
    tell(before);
    return true;
  }

  // In a host's frame without an address of its own, a link within the page would load the host.
  function onLink(event) {
    const link = event.target.closest('a[href^="#"]');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const hash = link.getAttribute("href"), isFramed = location.protocol === "about:";
    if (follow(hash)) {
      event.preventDefault();
      if (!isFramed && hash !== location.hash) history.pushState(null, "", hash);
    } else if (isFramed) {
      event.preventDefault();
      if (at(hash.slice(1))) at(hash.slice(1)).scrollIntoView();
    }
  }

  // ---- controls

  function fill(select, choices) {
    select.append(...choices.map(([value, label]) => element("option", { value }, label)));
    select.closest("label").hidden = choices.length < 2;
  }

  function fillControls() {
    const has = (field) => cases.some((item) => item.variants.some((made) => made[field] !== undefined));
    const asked = { worst: has(worth), best: has(worth), apart: has("apart") };
    fill(at("case-sort"), Object.entries(SORTS).filter(([key]) => asked[key] !== false)
      .map(([key, [label]]) => [key, label]));
    const amounts = new Map();
    cases.forEach((_, place) => amounts.set(groupOf(place), (amounts.get(groupOf(place)) || 0) + 1));
    const listed = [...amounts.keys()].sort((one, other) => one - other);
    const kept = new Set([...listed].sort((one, other) => amounts.get(other) - amounts.get(one)).slice(0, MOST_GROUPS));
    const named = groups.length ? listed.filter((group) => kept.has(group)) : [];
    fill(at("case-group"), named.length ? [[ALL, "all"], ...named.map((group) => [group, groupName(group)])] : []);
    if (listed.length > MOST_GROUPS) at("case-group").title = `the ${MOST_GROUPS} largest of ${listed.length} groups`;
    const rivals = variants.map((variant, place) => [place, variant]).slice(1);
    const all = [["all", data.rivals.length === rivals.length ? "any" : data.about]];
    fill(at("case-variant"), rivals.length > 1 ? [...all, ...rivals] : []);
    const bases = isAlone ? [] : [["base", variants[0]]];
    const texts = cases.some((item) => item.expected) ? [["expected", "expected output"]] : [];
    fill(at("case-against"), [...bases, ...texts]);
    state.against = at("case-against").value || "base";
    fillOutcomes();
  }

  function fillOutcomes() {
    const used = new Set(cases.flatMap((item) => item.variants.flatMap((made) => made.flags || [])));
    if (cases.some((item) => item.failed)) used.add(flagPlace.failed);
    const flags = data.flags.map((flag, place) => [place, ...flag]).filter(([place]) => used.has(place));
    const choices = [[ALL, "", "", "all"], ...flags].map(([place, , sign, label]) => {
      const id = `case-outcome-${place}`;
      const input = element("input", { type: "radio", name: "case-outcome", id, value: place });
      input.checked = place === state.outcome;
      return [input, element("label", { for: id }, element("span", { "aria-hidden": "true" }, sign),
        ` ${label} `, element("span", { class: "amount" }))];
    });
    at("case-outcomes").append(...choices.flat());
    at("case-outcomes").hidden = !flags.length;
  }

  function listen() {
    let waiting = 0;
    at("case-search").addEventListener("input", (event) => {
      clearTimeout(waiting);
      waiting = setTimeout(() => change({ query: event.target.value }), 120);
    });
    at("case-search").addEventListener("keydown", (event) => {
      if (event.key === "Escape") change({ query: "" });
      else if (event.key === "Enter") {
        clearTimeout(waiting);
        change({ query: event.target.value });
        step(0);
      }
    });
    at("case-sort").addEventListener("change", () => change({}));
    at("case-group").addEventListener("change", (event) => change({ group: Number(event.target.value) }));
    at("case-outcomes").addEventListener("change", (event) => change({ outcome: Number(event.target.value) }));
    at("case-against").addEventListener("change", (event) => change({ against: event.target.value }));
    at("case-variant").addEventListener("change", ({ target }) => {
      chosen = target.value === "all" ? data.rivals : [Number(target.value)];
      markCases();
      change({});
    });
    at("case-clear").addEventListener("click", () => {
      change({ query: "", group: ALL, outcome: ALL });
      at("case-search").focus();
    });
    at("case-keys-open").addEventListener("click", () => at("case-keys").showModal());
    for (const nav of document.querySelectorAll(".case-pages")) {
      const [back, on] = nav.querySelectorAll("button");
      back.addEventListener("click", () => goTo((state.page - 1) * PAGE));
      on.addEventListener("click", () => goTo((state.page + 1) * PAGE));
    }
    at("case-list").addEventListener("focusin", ({ target }) => {
      const article = target.closest("article");
      if (article) current = Number(article.dataset.place);
    });
    document.addEventListener("click", onLink);
    window.addEventListener("hashchange", () => follow(location.hash));
    let top = 0;
    window.addEventListener("beforeprint", () => {
      top = window.scrollY;
      state.isPrinting = true;
      draw();
    });
    window.addEventListener("afterprint", () => {
      state.isPrinting = false;
      draw();
      window.scrollTo(0, top);
    });
  }

  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    d: () => {
      if (current === null) step(0);
      if (current !== null) differ(current);
    },
    "/": () => at("case-search").focus(),
    "?": () => at("case-keys").showModal(),
  };

  function onKey(event) {
    const isTyping = event.target.closest("input:not([type=radio]), select, textarea, [contenteditable], dialog");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
    if (!at("case-keys-on").checked) return;
    event.preventDefault();
    KEYS[event.key]();
  }

  markCases();
  fillControls();
  listen();
  document.addEventListener("keydown", onKey);
  change({});
  at("cases").hidden = false;
  at("cases-static").remove();
  performance.mark("first case");
  follow(location.hash);
})();
