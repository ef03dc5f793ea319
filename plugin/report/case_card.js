"use strict";
// Build the card of one case. Texts from data and models are only ever set as text, never as HTML.
const caseCards = (data) => {
  const LONGEST = 1500, MOST_LINES = 25; // longer texts are cut until the reader asks for all
  const MOST_EXPECTED = 10; // right answers that are tried to find the closest one

  // Of several tuned variants, each says itself what became of the case.
  const OF_ANSWER = ["cut off", "repeated"], OF_CASE = ["now wrong", "now right", "flipped"];
  const isOne = data.variants.length < 3;

  const count = (n, one, many) => `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`;
  const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");
  const length = (text) => text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g) || []).length;
  const plain = (text) => text.normalize("NFC").toLowerCase(); // as the search compares texts
  const anchor = (id) => `case-${encodeURIComponent(wellFormed(id))}`;

  // An element; children are elements or texts, attributes that are undefined are left out.
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== undefined) made.setAttribute(key, value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  // A short text from data within ours: its direction stays its own.
  const name = (text) => element("bdi", {}, readable(text));

  // Control characters as the symbols that stand for them, and a mark for what turns the direction
  // of text: they would be invisible.
  function readable(text) {
    return text.replace(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/g, (sign) =>
      String.fromCharCode(sign === "\x7f" ? 0x2421 : 0x2400 + sign.charCodeAt(0)))
      .replace(/[\u202a-\u202e\u2066-\u2069]/g, (sign) =>
        `[U+${sign.charCodeAt(0).toString(16).toUpperCase()}]`);
  }

  // As the program writes numbers; they come rounded, so no rounding can differ.
  function number(value, signed) {
    let text = "0.00";
    for (let places = 2; value && places <= 6; places++) {
      text = value.toFixed(places);
      if (Number(text)) break;
    }
    return signed && value > 0 ? `+${text}` : text;
  }

  function cutPlace(text) {
    let place = Math.min(text.length, LONGEST);
    for (let line = 0, from = 0; line < MOST_LINES; line++) {
      from = text.indexOf("\n", from) + 1;
      if (!from) return place;
      if (line === MOST_LINES - 1) place = Math.min(place, from - 1);
    }
    return place;
  }

  let sought = ""; // what the reader searches for: where it is found, nothing hides it
  const lookFor = (query) => { sought = plain(query); };
  const hasHit = (text) => sought !== "" && plain(text).includes(sought);

  // A text as it is, cut where it is long, with a button for all of it.
  function said(text, isPrinting) {
    const box = element("div", { class: "said", dir: "auto" });
    const cut = cutPlace(text), rest = text.length - cut;
    const isWhole = rest <= LONGEST / 4 || (hasHit(text) && !hasHit(text.slice(0, cut)));
    box.textContent = readable(isWhole ? text : text.slice(0, cut));
    if (isWhole) return box;
    if (isPrinting) {
      const more = count(rest, "more character", "more characters");
      return element("div", {}, box, element("p", { class: "faint" }, `\u2026 ${more}`));
    }
    const all = `Show all ${count(length(text), "character", "characters")}`;
    const button = element("button", { type: "button", class: "more", "aria-expanded": "false" }, all);
    button.addEventListener("click", () => {
      const opens = button.getAttribute("aria-expanded") === "false";
      box.textContent = readable(opens ? text : text.slice(0, cut));
      button.textContent = opens ? "Show less" : all;
      button.setAttribute("aria-expanded", String(opens));
    });
    return element("div", {}, box, button);
  }

  function asked(title, place, isPrinting) {
    return element("div", { class: "asked" }, element("span", { class: "faint" }, title),
      said(data.texts[place], isPrinting));
  }

  // Something folded away; what is in it is made when it is opened.
  function folded(title, fill, isFilled) {
    const made = element("details", {}, element("summary", {}, title));
    const open = () => {
      if (made.childElementCount === 1) made.append(...fill());
    };
    made.addEventListener("toggle", open);
    if (isFilled) open();
    return made;
  }

  function chip(gain) {
    const kind = gain > 0 ? "win" : gain < 0 ? "loss" : "tie"; // the style puts a sign before it
    return element("span", { class: `chip ${kind}` }, number(gain, true));
  }

  function flagTag(place) {
    const [, sign, label] = data.flags[place];
    return element("span", { class: "tag" }, element("span", { "aria-hidden": "true" }, sign), ` ${label}`);
  }

  function scores(rows) {
    return element("ul", { class: "scores" }, ...rows.map(([metric, value, gain, reason, told]) => {
      const line = element("li", {}, name(data.metrics[metric]), ": ",
        element("b", {}, value === null ? "\u2013" : number(value)));
      if (gain !== null) line.append(" ", chip(gain));
      for (const one of told) line.append(" ", element("span", { class: "tag", dir: "auto" }, readable(data.texts[one])));
      if (reason !== null) {
        line.append(element("div", { class: "reason", dir: "auto" }, readable(data.texts[reason])));
      }
      return line;
    }));
  }

  function failures(rows = []) {
    return rows.map(([metric, stage, reason]) => element("p", {},
      element("b", { class: "failed" }, "! FAILED ", metric === null ? "" : name(data.metrics[metric]), ` (${stage})`),
      element("span", { class: "reason", dir: "auto" }, ` ${readable(data.texts[reason])}`)));
  }

  // What an answer is compared with: the base's answer, or the expected output closest to it.
  function compared(item, place, against) {
    const own = data.texts[item.variants[place].answer];
    if (own === undefined) return null;
    if (against !== "expected") {
      const base = data.texts[item.variants[0].answer];
      return place === 0 || base === undefined ? null : compareWords(base, own);
    }
    const found = (item.expected || []).slice(0, MOST_EXPECTED)
      .map((text) => compareWords(data.texts[text], own));
    const changed = ({ parts }) => parts
      ? parts.reduce((sum, part) => sum + (part.kind === "same" ? 0 : part.text.length), 0) : Infinity;
    return found.sort((one, other) => changed(one) - changed(other))[0] || null;
  }

  function differences(found, own, isPrinting) {
    if (found.tooLong) {
      const [n, m] = found.tooLong.map((size) => size.toLocaleString("en-US"));
      return [element("p", { class: "faint" }, `Too long to compare word by word: ${n} and ${m} words.`),
        said(own, isPrinting)];
    }
    const box = element("div", { class: "said differs", dir: "auto" });
    for (const { kind, text } of found.parts) {
      const tag = { gone: "del", new: "ins" }[kind];
      const words = tag ? text.trimEnd() : text; // no mark on the space that follows
      box.append(tag ? element(tag, {}, readable(words)) : readable(words), text.slice(words.length));
    }
    const isSame = found.parts.every(({ kind }) => kind === "same");
    const note = found.onlySpaces ? "Only spaces or line breaks differ." : isSame ? "No difference." : "";
    return note ? [element("p", { class: "faint" }, note), box] : [box];
  }

  function answer(item, place, { differs, against, isPrinting }) {
    const made = item.variants[place];
    if (made.answer === undefined) return [element("p", { class: "failed" }, "No completion.")];
    const text = data.texts[made.answer], found = [];
    if (made.thoughts !== undefined) {
      const thoughts = data.texts[made.thoughts];
      const isFound = hasHit(thoughts);
      const box = folded("Thoughts", () => [said(thoughts, isPrinting)], isPrinting || isFound);
      box.open = isFound;
      found.push(box);
    }
    const comparison = differs ? compared(item, place, against) : null;
    if (made.unfinished) {
      found.push(element("p", { class: "failed" }, "Ends inside its thoughts: no answer."));
    } else if (comparison) {
      found.push(...differences(comparison, text, isPrinting));
    } else if (text) {
      found.push(said(text, isPrinting));
    } else {
      const what = made.thoughts === undefined ? "Empty completion." : "Empty answer.";
      found.push(element("p", { class: "failed" }, what));
    }
    return found;
  }

  function earlier(title, turns, isPrinting) {
    return folded(`${title} (${turns.length})`,
      () => turns.map(([role, text]) => asked(role, text, isPrinting)), isPrinting);
  }

  function column(item, place, options) {
    const made = item.variants[place];
    const text = made.answer === undefined ? null : data.texts[made.answer];
    const size = text ? count(length(text), "character", "characters") : "";
    const box = element("div", { class: "column" },
      element("h4", {}, name(data.variants[place]), " ", element("span", { class: "faint" }, size)),
      ...answer(item, place, options), ...failures(made.failed));
    const signs = isOne ? OF_ANSWER : [...OF_CASE, ...OF_ANSWER];
    for (const flag of made.flags || []) {
      if (signs.includes(data.flags[flag][0])) box.append(flagTag(flag), " ");
    }
    if (made.scores) box.append(scores(made.scores));
    if (made.turns) box.insertBefore(earlier("Its conversation before", made.turns, options.isPrinting), box.children[1]);
    return box;
  }

  function header(item, { flags }) {
    const others = data.variants.slice(1);
    const title = element("h3", {}, element("a", { href: `#${anchor(item.id)}` }, "Case ", name(item.id)));
    const box = element("header", {}, title);
    if (item.group !== undefined) box.append(element("span", { class: "tag" }, name(data.groups[item.group])));
    others.forEach((other, place) => {
      const { gain } = item.variants[place + 1];
      const known = gain === undefined ? element("span", { class: "faint" }, "no pair to compare") : chip(gain);
      if (data.primary) box.append(element("span", {}, ...(others.length > 1 ? [name(other), " "] : []), known));
    });
    const shown = isOne ? [...OF_CASE, "failed"] : [];
    box.append(...flags.filter((flag) => shown.includes(data.flags[flag][0])).map(flagTag));
    return box;
  }

  function expected(item, isPrinting) {
    const texts = item.expected || [];
    if (texts.length < 2) return texts.map((text) => asked("Expected output", text, isPrinting));
    return [element("div", { class: "asked" },
      element("span", { class: "faint" }, "Expected outputs: any one is right"),
      element("ul", {}, ...texts.map((text) => element("li", {}, said(data.texts[text], isPrinting)))))];
  }

  function columns(item, options) {
    return element("div", { class: "columns" }, ...data.variants.map((_, place) => column(item, place, options)));
  }

  // The whole card. options: flags (places), differs, against, isPrinting.
  function card(item, options) {
    const { isPrinting } = options;
    const made = element("article", { class: "card case", id: anchor(item.id), tabindex: "-1" });
    const top = header(item, options);
    made.setAttribute("aria-label", top.firstChild.textContent);
    made.append(top, ...failures(item.failed));
    if (item.turns) made.append(earlier("Earlier turns", item.turns, isPrinting));
    made.append(asked("Input", item.input, isPrinting), ...expected(item, isPrinting));
    if (item.expect) {
      made.append(folded(`Looked for in the answer (${item.expect.length})`,
        () => item.expect.map((text) => said(data.texts[text], isPrinting)), isPrinting));
    }
    if (item.context) {
      made.append(folded(`Context (${item.context.length})`, () => item.context.map((text) =>
        element("div", { class: "asked" }, said(data.texts[text], isPrinting))), isPrinting));
    }
    if (item.data) made.append(folded("Quality of the data", () => [scores(item.data)], isPrinting));
    made.append(columns(item, options));
    return made;
  }
  return { anchor, card, columns, count, element, lookFor, name, plain, wellFormed };
};
