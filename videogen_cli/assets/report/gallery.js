"use strict";
// Puts the cards in the order of a score: the worst, the best, and the others, each in its section.
const cards = [...document.querySelectorAll(".card")];
const scores = new Map(cards.map((card) => [card, JSON.parse(card.dataset.scores)]));
const sections = ["worst", "best", "rest"].map((id) => document.getElementById(id));
const order = document.getElementById("order");
const find = document.getElementById("find");

// What a card has of "measure|run"; of "measure|mean" over the runs; of "measure|run|base" as a difference of two.
function value(card, key) {
  const [name, run, base] = key.split("|");
  const list = scores.get(card)[name];
  if (run === "mean") {
    const known = list.filter((item) => item !== null);
    return known.length ? known.reduce((sum, item) => sum + item) / known.length : null;
  }
  if (list[run] === null || base === undefined) return list[run];
  return list[base] === null ? null : list[run] - list[base];
}

function sort() {
  const option = order.selectedOptions[0];
  const better = Number(option.dataset.better);
  const rank = (card) => value(card, order.value) * (better || 1);
  const known = cards.filter((card) => value(card, order.value) !== null).sort((a, b) => rank(a) - rank(b));
  const unknown = cards.filter((card) => value(card, order.value) === null);
  const ends = Math.min(Number(document.body.dataset.ends), Math.floor(known.length / 3));
  const parts = [known.slice(0, ends), known.slice(known.length - ends).reverse()];
  parts.push(known.slice(ends, known.length - ends).concat(unknown));
  const names = better ? ["Worst", "Best", "All others"] : ["Lowest", "Highest", "All others"];
  sections.forEach((section, i) => {
    section.hidden = !parts[i].length;
    section.querySelector("h2").firstChild.data = ends || i < 2 ? names[i] : "All";
    section.querySelector("h2 small").textContent = i < 2 ? "by " + option.dataset.label : "";
    section.querySelector(".grid").append(...parts[i]);
  });
  const [name, run, base] = order.value.split("|");
  for (const card of cards) {
    card.querySelectorAll(".shot").forEach((shot, number) => {
      const own = value(card, `${name}|${number}`);
      const change = base !== undefined && String(number) === run ? value(card, order.value) : null;
      const more = change === null ? "" : ` (${change < 0 ? "" : "+"}${change.toFixed(3)})`;
      shot.querySelector(".lead").textContent = own === null ? "\u2013" : own.toFixed(3) + more;
      shot.querySelector(".of").textContent = more ? "" : option.dataset.short;
    });
  }
}

function filter() {
  const words = find.value.toLowerCase();
  for (const card of cards) card.hidden = !card.querySelector(".prompt").textContent.toLowerCase().includes(words);
}

order.addEventListener("change", sort);
find.addEventListener("input", filter);
sort();
