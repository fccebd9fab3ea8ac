// Three rankings of tools for what somebody says: BM25, a regular expression of the telling words, and
// the search of Claude Code. No stemming, no synonyms, nothing learned: the worst search that a client is
// likely to have.

/** Words that say nothing about a tool. */
const STOP = new Set(
  `a an and are as at be by can do does for from go have how i in is it its me my not of on or our
   out please so that the them then there these this those to up was we what when where which who
   why will with you your`.split(/\s+/),
);
// The defaults of Lucene.
const K1 = 1.2;
const B = 0.75;

/** Lower-case words, with names split at case and `_`; Chinese as pairs of characters. */
export function words(text) {
  const spaced = text.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return (spaced.match(/\p{Script=Han}+|[\p{L}\p{N}]+/gu) ?? []).flatMap((word) => {
    // A single letter is what an apostrophe leaves of a word.
    if (!/\p{Script=Han}/u.test(word)) return word.length < 2 || STOP.has(word) ? [] : [word];
    const characters = [...word];
    if (characters.length < 2) return characters;
    return characters.slice(1).map((next, index) => characters[index] + next);
  });
}

/** All that a search reads of a tool. Claude Code reads the same, and not the arguments. */
const read = ({ name, description, hint = "" }) => `${name} ${description} ${hint}`;

/** Returns a function from a sentence to the score of each tool. */
export function bm25(tools) {
  const counted = tools.map((tool) => {
    const counts = new Map();
    const all = words(read(tool));
    for (const word of all) counts.set(word, (counts.get(word) ?? 0) + 1);
    return { counts, length: all.length };
  });
  const mean = counted.reduce((sum, { length }) => sum + length, 0) / counted.length;
  const weight = (word) => {
    const having = counted.filter(({ counts }) => counts.has(word)).length;
    return Math.log(1 + (counted.length - having + 0.5) / (having + 0.5));
  };
  return (sentence) => {
    const query = [...new Set(words(sentence))].map((word) => [word, weight(word)]);
    return counted.map(({ counts, length }) => {
      const part = ([word, idf]) => {
        const count = counts.get(word) ?? 0;
        return (idf * count * (K1 + 1)) / (count + K1 * (1 - B + (B * length) / mean));
      };
      return query.reduce((sum, term) => sum + part(term), 0);
    });
  };
}

/**
 * Returns a function from a sentence to the score of each tool. An assistant writes a pattern of the
 * telling words. Here these are the three words that the fewest tools have, as beginnings of words; a
 * tool scores by those that it has, the rarer the better.
 */
export function regex(tools) {
  const spaced = tools.map((tool) => read(tool).replaceAll("_", " "));
  const found = (word) => {
    const pattern = new RegExp(/\p{Script=Han}/u.test(word) ? word : `\\b${word}`, "i");
    const matches = spaced.map((text) => pattern.test(text));
    return { matches, count: matches.filter(Boolean).length };
  };
  return (sentence) => {
    const known = [...new Set(words(sentence))].map(found).filter(({ count }) => count > 0);
    const telling = known.sort((a, b) => a.count - b.count).slice(0, 3);
    const weight = ({ count }) => Math.log(1 + spaced.length / count);
    const score = (index) => telling.reduce((sum, word) => sum + (word.matches[index] ? weight(word) : 0), 0);
    return spaced.map((_, index) => score(index));
  };
}

/**
 * The best rank, from 1, of those tools for which `counts` holds; Infinity if none of them is found.
 * `ties` says whether equal scores of others come before them.
 */
export function rank(scores, counts, ties) {
  const best = Math.max(...scores.filter((_, index) => counts(index)));
  if (!(best > 0)) return Infinity;
  const before = (score, index) => !counts(index) && (ties === "others first" ? score >= best : score > best);
  return 1 + scores.filter(before).length;
}

const CHINESE = new Intl.Segmenter("zh", { granularity: "word" });

/** The keywords that an assistant types for a sentence: its words, also of Chinese, without those that say nothing. */
export function keywords(sentence) {
  const split = (word) => [...CHINESE.segment(word)].map(({ segment }) => segment);
  const spaced = sentence.toLowerCase().match(/\p{Script=Han}+|[\p{L}\p{N}]+/gu) ?? [];
  const all = spaced.flatMap((word) => (/\p{Script=Han}/u.test(word) ? split(word) : [word]));
  return [...new Set(all)].filter((word) => word.length > 1 && !STOP.has(word));
}

/**
 * Returns a function from keywords to the score of each tool in Claude Code 2.1.330, whose search runs in the client.
 * A keyword counts in the names of server and tool, and as a whole word of the hint and of the description. For its
 * expression `\b`, Chinese characters are no part of a word: they match only between letters, digits or `_`.
 */
export function claudeCode(tools) {
  const read = tools.map(({ server, name, description, hint = "" }) => {
    const names = [server, name].map((each) => each.toLowerCase());
    const parts = names.flatMap((each) => each.split(/[\s_.]+/)).filter(Boolean);
    return { names, parts, hint: hint.toLowerCase(), description: description.toLowerCase() };
  });
  const within = (all, word, whole, part) => {
    if (all.includes(word)) return whole;
    return all.some((each) => each.includes(word)) ? part : 0;
  };
  return (words) => {
    const terms = words.map((word) => ({ word, whole: new RegExp(`\\b${RegExp.escape?.(word) ?? word}\\b`) }));
    return read.map(({ names, parts, hint, description }) => {
      const points = ({ word, whole }) =>
        within(parts, word, 12, 6) + within(names, word, 12, 4) + (whole.test(hint) ? 4 : 0) + (whole.test(description) ? 2 : 0);
      return terms.reduce((sum, term) => sum + points(term), 0);
    });
  };
}
