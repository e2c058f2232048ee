// The list of pages is scrolled to the one that is shown. Search: pages that have every word that is typed, those with it in their title first. The index is fetched at the first letter; pages that
// are read from a disk, where nothing can be fetched, have no search.
(function () {
  "use strict";
  const input = document.getElementById("mkdocs-search-query");
  const box = document.getElementById("mkdocs-search-results");
  let pages = null;

  const current = document.querySelector("nav [aria-current]");
  const list = document.querySelector("nav");
  if (current) list.scrollTop = current.offsetTop - list.offsetTop - list.clientHeight / 2;

  async function load() {
    const answer = await fetch(base_url + "/search/search_index.json");
    pages = (await answer.json()).docs.map((page) => ({
      ...page,
      inTitle: page.title.toLowerCase(),
      inText: page.text.toLowerCase(),
    }));
  }

  function worth(page, words) {
    let sum = 0;
    for (const word of words) {
      const title = page.inTitle === word ? 20 : page.inTitle.includes(word) ? 8 : 0;
      const text = page.inText.includes(word) ? 1 : 0;
      if (!title && !text) return 0;
      sum += title + text;
    }
    return sum + (page.location.includes("#") ? 0 : 1);
  }

  function show() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    box.replaceChildren();
    box.hidden = words.length === 0;
    if (box.hidden) return;
    const found = pages.map((page) => [worth(page, words), page]).filter(([sum]) => sum > 0);
    found.sort((one, other) => other[0] - one[0]);
    for (const [, page] of found.slice(0, 12)) {
      const link = document.createElement("a");
      link.href = base_url + "/" + page.location;
      const title = document.createElement("b");
      title.textContent = page.title;
      const at = Math.max(0, page.inText.indexOf(words[0]) - 40);
      link.append(title, " " + page.text.slice(at, at + 120));
      box.append(link);
    }
    if (!found.length) box.textContent = "Nothing has all of these words.";
  }

  if (location.protocol === "file:") {
    input.hidden = true;
    return;
  }
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const first = box.querySelector("a");
    if (first) location.href = first.href;
  });
  input.addEventListener("input", async () => {
    if (pages === null) await load();
    show();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") box.hidden = true;
    if (event.key === "/" && document.activeElement !== input) {
      event.preventDefault();
      input.focus();
    }
  });
})();
