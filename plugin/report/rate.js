// Show one item at a time, keep what the rater says, and let them download it.
// Texts come from models and data: they are only ever shown as text.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("rating-data").textContent);
  const byId = (id) => document.getElementById(id);
  const items = data.items;
  const storeKey = `${data.format}-${data.page}`;
  const LONGEST_S = 3600;
  const SHORT = 120; // a question of so many characters stays open
  const ROLES = { system: "Instructions", user: "Asked", assistant: "Answered" };
  const FIELDS = { pair: "choice", single: "value", reason: "reason" };

  // What a rater may say of an item of each kind: key, value, label.
  const CANT = ["c", "cant_tell", "Can't decide"];
  const CHOICES = {
    pair: [["1", "first", "First is better"], ["0", "tie", "Equally good"],
      ["2", "second", "Second is better"], CANT],
    reason: [["1", "right", "Right"], ["2", "wrong", "Wrong"], CANT],
  };
  const choicesOf = (part) => CHOICES[part.kind] || [
    ...part.values.map((value, i) => {
      const end = i === 0 ? "worst" : i === part.values.length - 1 ? "best" : "";
      return [String(i + 1), value, end ? `${i + 1} ${end}` : String(i + 1)];
    }),
    ["c", null, CANT[2]],
  ];

  // item id -> {said, comment, seconds, when}; said is undefined while only a comment is there;
  // when is the time of the last change.
  const answers = new Map();
  const history = []; // what u takes back: [place, what was said before]
  const FIRST_LOOK_MS = 300; // a click so soon after a new item was meant for the one before
  let at = 0;
  let sitting = 0; // grows when someone else starts anew
  let named = 0; // when the name was typed
  let fetched = 0; // when the answers were last downloaded
  let keptText = null; // what this page wrote or read last
  let canKeep = true;
  let shownSince = performance.now();
  let itemSince = -Infinity;
  let partShown = -1;
  let itemShown = null;

  const partOf = (item) => data.parts[item.part];
  const isAnswered = (item) => answers.has(item.id) && answers.get(item.id).said !== undefined;
  const nAnswered = () => items.filter(isAnswered).length;
  const hasSaid = (entry) => entry.said !== undefined || entry.comment.trim() !== "";
  const isFilled = () => [...answers.values()].some(hasSaid);
  const isChanged = () => isFilled() && (named > fetched ||
    [...answers.values()].some((entry) => entry.when > fetched));

  let latest = 0;
  function now() { // two changes never have the same time
    latest = Math.max(Date.now(), latest + 1);
    return latest;
  }

  // --- keep ---------------------------------------------------------------------------------
  // Another tab may hold this page, too: take in what it kept before writing.
  function keep() {
    try {
      takeIn(window.localStorage.getItem(storeKey));
      keptText = JSON.stringify(
        { rater: byId("rater").value, at, sitting, named, fetched, answers: [...answers] });
      window.localStorage.setItem(storeKey, keptText);
      canKeep = true;
    } catch {
      canKeep = false;
    }
    warn();
  }

  function warn() {
    const text = "This browser keeps nothing when the page is closed. Download your answers " +
      "before you close it or load it again.";
    byId("warning").hidden = canKeep;
    if (!canKeep && byId("warning").textContent !== text) byId("warning").textContent = text;
  }

  // Merge what the storage holds into what is here: the newest of each item wins. Return whether
  // anything was new.
  function takeIn(text) {
    if (!text || text === keptText) return false;
    keptText = text;
    let held = null;
    try {
      held = JSON.parse(text);
    } catch {
      return false;
    }
    if (!held || !Array.isArray(held.answers)) return false;
    const time = (value) => (Number.isFinite(value) ? value : 0);
    if (time(held.sitting) < sitting) return false;
    if (time(held.sitting) > sitting) {
      clear();
      sitting = held.sitting;
      if (typeof held.rater === "string") byId("rater").value = held.rater;
    }
    const known = new Map(items.map((item) => [item.id, item]));
    for (const entry of held.answers) {
      const [id, one] = Array.isArray(entry) ? entry : [];
      if (!known.has(id) || !one || typeof one.comment !== "string") continue;
      const own = answers.get(id);
      if (own && own.when >= time(one.when)) continue;
      const allowed = choicesOf(partOf(known.get(id))).map((choice) => choice[1]);
      const said = allowed.includes(one.said) ? one.said : undefined;
      const seconds = Math.max(time(one.seconds), own ? own.seconds : 0);
      answers.set(id, { said, comment: one.comment, seconds, when: time(one.when) });
    }
    if (typeof held.rater === "string" && time(held.named) > named) {
      byId("rater").value = held.rater;
      named = held.named;
    }
    fetched = Math.max(fetched, time(held.fetched));
    return held;
  }

  function restore() {
    let held = false;
    try {
      held = takeIn(window.localStorage.getItem(storeKey));
      window.localStorage.setItem(`${storeKey}-check`, "1");
      window.localStorage.removeItem(`${storeKey}-check`);
    } catch {
      canKeep = false;
    }
    if (held && Number.isInteger(held.at) && held.at >= 0 && held.at < items.length) at = held.at;
    showOwner();
  }

  // Say whose answers these are: someone else may open the same file in the same browser.
  function showOwner() {
    const n = nAnswered();
    const name = byId("rater").value.trim();
    byId("owner").hidden = n === 0;
    if (n && name) byId("intro").open = false;
    byId("whose").replaceChildren(`${n} ${n === 1 ? "answer" : "answers"} of `,
      name ? element("bdi", "", visible(name)) : "someone without a name",
      n === 1 ? " is kept in this browser." : " are kept in this browser.");
  }

  function clear() {
    answers.clear();
    history.length = 0;
    at = 0;
    named = 0;
    fetched = 0;
  }

  function startAnew() {
    const lost = isChanged() ? " Not all of these answers are downloaded yet: they will be lost." : "";
    if (!window.confirm(`Remove the answers that are kept here and start anew?${lost}`)) return;
    clear();
    sitting = now();
    byId("rater").value = "";
    named = sitting;
    keep();
    byId("owner").hidden = true;
    byId("intro").open = true;
    show();
    checkName();
    byId("rater").focus();
  }

  // Another tab kept something: show it, and leave a comment that is being written alone.
  function hear(event) {
    if (event.key !== storeKey || !takeIn(event.newValue)) return;
    const item = items[at];
    showAnswers(item);
    showChoices(item);
    if (document.activeElement !== byId("comment")) showComment(item);
    showProgress();
    checkName();
  }

  // --- name ---------------------------------------------------------------------------------
  // The same rules as those of the program that reads the file.
  const cleaned = (name) => name.replace(/\p{DI}|[\u2800\ufff9-\ufffb]/gu, (char) =>
    (/[\u200c\u200d]/.test(char) ? char : "")).normalize("NFC").split(/\s+/).filter(Boolean).join(" ");

  function whyNoName(name) {
    const kept = cleaned(name);
    if (!kept.replace(/[\u200c\u200d\s]/g, "")) return "has no letter that can be seen";
    if ([...kept].length > 100) return "is longer than 100 characters";
    return /[\p{Cc}\p{Cs}]/u.test(kept) ? "has characters that nobody can read" : "";
  }

  function checkName() {
    const typed = byId("rater").value;
    const why = typed ? whyNoName(typed) : "";
    byId("name-why").hidden = !why;
    byId("name-why").textContent = why ? `This cannot be a name: it ${why}.` : "";
    byId("rater").setAttribute("aria-invalid", String(why !== ""));
  }

  // --- answer -------------------------------------------------------------------------------
  function entryOf(item) {
    if (!answers.has(item.id)) answers.set(item.id, { said: undefined, comment: "", seconds: 0, when: 0 });
    return answers.get(item.id);
  }

  function countTime() {
    const now = performance.now();
    if (!document.hidden) {
      const entry = entryOf(items[at]);
      entry.seconds = Math.min(LONGEST_S, entry.seconds + (now - shownSince) / 1000);
    }
    shownSince = now;
  }

  function answer(said) {
    countTime();
    const entry = entryOf(items[at]);
    history.push([at, entry.said]);
    entry.said = said;
    entry.when = now();
    byId("owner").hidden = true;
    byId("intro").open = false;
    byId("how").open = byId("question").textContent.length <= SHORT;
    if (at < items.length - 1) at += 1;
    else if (nAnswered() < items.length) at = items.findIndex((item) => !isAnswered(item));
    keep();
    show();
  }

  function undo() {
    if (!history.length) return;
    countTime();
    const [place, before] = history.pop();
    at = place;
    const entry = entryOf(items[at]);
    entry.said = before;
    entry.when = now();
    keep();
    show();
  }

  function go(place) {
    if (place < 0 || place >= items.length || place === at) return;
    countTime();
    at = place;
    keep();
    show();
  }

  function goToOpen() {
    const later = items.findIndex((item, i) => i > at && !isAnswered(item));
    go(later >= 0 ? later : items.findIndex((item) => !isAnswered(item)));
  }

  // --- show ---------------------------------------------------------------------------------
  function element(tag, classes, text) {
    const made = document.createElement(tag);
    if (classes) made.className = classes;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Controls as the symbols that stand for them, and marks for what turns the direction of text:
  // raters see what is written there.
  const visible = (text) => text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g, (char) =>
    String.fromCharCode(char === "\x7f" ? 0x2421 : 0x2400 + char.charCodeAt(0)))
    .replace(/[\u202a-\u202e\u2066-\u2069]/g, (char) =>
      `[U+${char.charCodeAt(0).toString(16).toUpperCase()}]`);

  function textBlock(classes, text, name) {
    const made = element("div", `text ${classes}`, visible(text.trim()) || "(empty)");
    made.dir = "auto";
    made.tabIndex = 0;
    made.setAttribute("role", "group");
    made.setAttribute("aria-label", name);
    return made;
  }

  function fold(id, parts, summary) {
    const details = byId(id);
    details.hidden = !parts.length;
    details.open = false;
    details.querySelector("summary").textContent = summary;
    details.querySelector("div").replaceChildren(...parts);
  }

  function showCase(item) {
    const part = partOf(item);
    const one = data.cases[item.case];
    fold("turns", one.turns.flatMap(([role, text]) =>
      [element("h3", "", ROLES[role] || role), textBlock("asked", text, "earlier turn")]),
    `Before that (${one.turns.length})`);
    byId("asked").textContent = visible(one.question);
    byId("asked").scrollTop = 0;
    const expected = byId("expected");
    expected.hidden = !part.expected || one.expected === null;
    expected.open = false;
    expected.querySelector("div").textContent = visible(one.expected || "");
    const context = part.context ? one.context : [];
    fold("context", context.map((text) => textBlock("asked", text, "context")),
      context.length === 1 ? "Context" : `Context (${context.length} texts)`);
  }

  function showAnswers(item) {
    const said = isAnswered(item) ? answers.get(item.id).said : undefined;
    const names = item.shows.length > 1 ? ["First answer", "Second answer"] : ["Answer"];
    byId("answers").replaceChildren(...item.shows.map((place, i) => {
      const chosen = item.shows.length > 1 && said === ["first", "second"][i];
      const box = element("div", chosen ? "answer chosen" : "answer");
      box.append(element("h3", "", names[i]), textBlock("long", data.texts[place], names[i]));
      return box;
    }));
    byId("judge").hidden = item.said === undefined;
    if (item.said !== undefined) {
      const part = partOf(item);
      byId("score").replaceChildren(element("bdi", "", visible(part.metric)),
        `: ${item.score} (${part.worst} is worst, ${part.best} is best)`);
      byId("said").textContent = visible(item.said);
    }
  }

  function showChoices(item) {
    const part = partOf(item);
    const said = isAnswered(item) ? answers.get(item.id).said : undefined;
    const box = byId("choices");
    box.className = part.kind === "single" ? "choices scale" : "choices";
    if (box.dataset.part !== String(item.part)) {
      box.dataset.part = item.part;
      box.replaceChildren(...choicesOf(part).map(([key, value, label]) => {
        const button = element("button", key === "c" ? "wide" : "");
        button.type = "button";
        const cap = element("kbd", "", key);
        cap.setAttribute("aria-hidden", "true");
        button.append(...(part.kind === "single" && key !== "c" ? [] : [cap]));
        button.append(element("span", "name", label));
        button.addEventListener("click", () => {
          if (performance.now() - itemSince > FIRST_LOOK_MS) answer(value);
        });
        return button;
      }));
    }
    choicesOf(part).forEach(([, value], i) =>
      box.children[i].setAttribute("aria-pressed", String(said === value)));
  }

  function showComment(item) {
    byId("comment").value = answers.has(item.id) ? answers.get(item.id).comment : "";
  }

  function showProgress() {
    const n = nAnswered();
    byId("progress").max = items.length;
    byId("progress").value = n;
    byId("where").textContent =
      `Item ${at + 1} of ${items.length} · ${n} answered, ${items.length - n} left`;
    byId("unsaved").textContent = isChanged() ? "Not all of your answers are downloaded yet" : "";
    byId("done").hidden = n < items.length;
    byId("download").disabled = !isFilled();
    byId("back").disabled = at === 0;
    byId("next").disabled = at === items.length - 1;
    byId("undo").disabled = !history.length;
    byId("open").disabled = n === items.length || (n === items.length - 1 && !isAnswered(items[at]));
  }

  function show() {
    const item = items[at];
    const part = partOf(item);
    if (item.part !== partShown) byId("how").open = true;
    partShown = item.part;
    if (item !== itemShown && itemShown) itemSince = performance.now();
    itemShown = item;
    byId("title").textContent = part.title;
    byId("question").textContent = visible(part.question);
    byId("rule").textContent = part.rule;
    showCase(item);
    showAnswers(item);
    showChoices(item);
    showComment(item);
    showProgress();
    window.scrollTo(0, 0);
  }

  // --- download -----------------------------------------------------------------------------
  function download() {
    const name = cleaned(byId("rater").value);
    checkName();
    if (whyNoName(byId("rater").value)) {
      byId("intro").open = true;
      byId("rater").focus();
      byId("send").textContent = name ? `Please change your name: it ${whyNoName(name)}.`
        : "Please give your name first: it tells your answers from others'.";
      return;
    }
    const given = items.filter((item) => answers.has(item.id) && hasSaid(answers.get(item.id)));
    const told = given.map((item) => {
      const { said, comment, seconds } = answers.get(item.id);
      const rounded = Math.round(seconds * 10) / 10;
      const field = said === undefined ? {} : { [FIELDS[partOf(item).kind]]: said };
      return { item: item.id, ...field, comment, seconds: rounded };
    });
    const held = {
      format: data.format, version: data.version, page: data.page, rater: name, answers: told,
    };
    const file = new Blob([JSON.stringify(held, null, 1)], { type: "application/json" });
    const link = element("a", "");
    link.href = URL.createObjectURL(file);
    link.download = `ratings-${name.replace(/[^\p{L}\p{N}._-]+/gu, "-")}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    fetched = now();
    keep();
    showProgress();
  }

  // --- listen -------------------------------------------------------------------------------
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target instanceof Element && event.target.matches("textarea, input")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const choice = choicesOf(partOf(items[at])).find((one) => one[0] === key);
    if (event.repeat && !key.startsWith("Arrow")) { // a key that is held says one thing, once
      if (choice || key === "Enter") event.preventDefault();
      return;
    }
    if (choice) answer(choice[1]);
    else if (key === "ArrowLeft") go(at - 1);
    else if (key === "ArrowRight") go(at + 1);
    else if (key === "u") undo();
    else return;
    event.preventDefault();
  }

  function introduce() {
    const kinds = new Set(data.parts.map((part) => part.kind));
    const does = [
      kinds.has("pair") && "choose the better one of two answers",
      kinds.has("single") && "say how good each answer is",
      kinds.has("reason") && "say whether the judge's reasons are right",
    ].filter(Boolean).join(", then ");
    byId("todo").textContent =
      `Read what was asked and ${does}; nobody can see here who wrote an answer.`;
    byId("send").textContent =
      "When you are done, or want to stop, download your answers and send the file back.";
    const scale = kinds.has("single") ? "1 to 5: from worst to best. " : "";
    const pair = kinds.has("pair") ? "1, 2: this answer is better. 0: equally good. " : "";
    const reason = kinds.has("reason") ? "1, 2: the reason is right, wrong. " : "";
    byId("keys").textContent = `${pair}${scale}${reason}c: can't decide. ` +
      "← and →: go back and on. u: take the last answer back. Esc: leave a text field.";
  }

  byId("rater").value = data.rater;
  restore();
  introduce();
  warn();
  byId("rater").addEventListener("input", () => {
    named = now();
    keep();
    checkName();
    showProgress();
  });
  byId("comment").addEventListener("input", () => {
    const entry = entryOf(items[at]);
    entry.comment = byId("comment").value;
    entry.when = now();
    keep();
    showProgress();
  });
  byId("download").addEventListener("click", download);
  byId("download-done").addEventListener("click", download);
  byId("back").addEventListener("click", () => go(at - 1));
  byId("next").addEventListener("click", () => go(at + 1));
  byId("open").addEventListener("click", goToOpen);
  byId("undo").addEventListener("click", undo);
  byId("anew").addEventListener("click", startAnew);
  window.addEventListener("storage", hear);
  document.addEventListener("keydown", press);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) countTime(); else shownSince = performance.now();
  });
  window.addEventListener("beforeunload", (event) => {
    if (!isChanged()) return;
    event.preventDefault();
    event.returnValue = "";
  });
  show();
})();
