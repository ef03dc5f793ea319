"use strict";
// Compare two texts word by word: compareWords(from, to) returns {parts} or {tooLong: [n, m]}.
// A part is {kind, text} with kind "same", "gone" (only in `from`) or "new" (only in `to`). The
// parts that are not gone make up `to`, character for character.
const compareWords = (() => {
  // The longest table: two texts of 3,000 words each that have neither start nor end in common.
  const MOST_CELLS = 9e6;

  // Scripts without spaces between words are compared character by character.
  const UNSPACED = [
    "Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan",
  ].map((name) => `\\p{Script=${name}}`).join("");
  const WORD = new RegExp(
    `[${UNSPACED}]\\p{M}*` +
    `|(?:(?![${UNSPACED}])[\\p{L}\\p{N}\\p{M}_])+(?:['\u2019](?![${UNSPACED}])\\p{L}+)*` +
    "|\\p{RI}\\p{RI}" + // a flag
    "|\\S[\\p{M}\\p{Emoji_Modifier}]*(?:\\u200d\\S[\\p{M}\\p{Emoji_Modifier}]*)*",
    "gu",
  );

  // Words with the white space that follows them; white space before the first word is `lead`.
  function split(text) {
    const found = [...text.matchAll(WORD)];
    const words = found.map((match, place) => {
      const end = found[place + 1] ? found[place + 1].index : text.length;
      return { key: match[0].normalize("NFC"), text: text.slice(match.index, end) };
    });
    return { lead: text.slice(0, found.length ? found[0].index : text.length), words };
  }

  // The longest common subsequence as pairs of places, by the textbook's table.
  function align(from, to) {
    const width = to.length + 1;
    const table = new Uint16Array((from.length + 1) * width);
    for (let i = from.length - 1; i >= 0; i--) {
      for (let j = to.length - 1; j >= 0; j--) {
        const below = table[(i + 1) * width + j], right = table[i * width + j + 1];
        table[i * width + j] = from[i] === to[j]
          ? table[(i + 1) * width + j + 1] + 1 : Math.max(below, right);
      }
    }
    const pairs = [];
    for (let i = 0, j = 0; i < from.length && j < to.length;) {
      if (from[i] === to[j]) pairs.push([i++, j++]);
      else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i++;
      else j++;
    }
    return pairs;
  }

  // Numbers in place of words: numbers compare faster.
  function numbered(lists) {
    const places = new Map();
    return lists.map((words) => words.map(({ key }) => {
      if (!places.has(key)) places.set(key, places.size);
      return places.get(key);
    }));
  }

  function compare(from, to) {
    const old = split(from), now = split(to);
    const [a, b] = numbered([old.words, now.words]);
    let start = 0, end = 0;
    const shorter = Math.min(a.length, b.length);
    while (start < shorter && a[start] === b[start]) start++;
    while (end < shorter - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
    const n = a.length - start - end, m = b.length - start - end;
    if ((n + 1) * (m + 1) > MOST_CELLS) return { tooLong: [a.length, b.length] };
    const pairs = align(a.slice(start, start + n), b.slice(start, start + m));
    const parts = [];
    const add = (kind, words, first, last) => {
      const text = words.slice(first, last).map((word) => word.text).join("");
      if (!text) return;
      const before = parts[parts.length - 1];
      if (before && before.kind === kind) before.text += text;
      else parts.push({ kind, text });
    };
    if (now.lead) parts.push({ kind: "same", text: now.lead });
    add("same", now.words, 0, start);
    let i = start, j = start;
    for (const [x, y] of [...pairs.map(([x, y]) => [x + start, y + start]), [start + n, start + m]]) {
      add("gone", old.words, i, x);
      add("new", now.words, j, y);
      if (x < start + n) add("same", now.words, y, y + 1);
      i = x + 1;
      j = y + 1;
    }
    add("same", now.words, start + m, b.length);
    return { parts, onlySpaces: from !== to && !parts.some(({ kind }) => kind !== "same") };
  }
  return compare;
})();
