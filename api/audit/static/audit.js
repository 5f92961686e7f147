// What works without it is made quicker: the slider shows each version at once, the check runs on by itself.
"use strict";

let asked = null;

async function swap(url) {
  asked?.abort();
  asked = new AbortController();
  const answer = await fetch(url, { signal: asked.signal });
  if (answer.redirected || !answer.ok) {
    location.assign(url);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const open = new Set([...document.querySelectorAll("details[open]")].map((each) => each.closest("li")?.id));
  for (const part of document.querySelectorAll("[data-part]")) {
    const next = page.getElementById(part.id);
    if (next) part.replaceWith(document.adoptNode(next));
  }
  for (const id of open) document.getElementById(id)?.querySelector("details")?.setAttribute("open", "");
  const shell = page.querySelector(".shell");
  if (shell) document.querySelector(".shell")?.replaceWith(document.adoptNode(shell));
  document.title = page.title;
  history.replaceState(null, "", url);
}

const quiet = (error) => { if (error.name !== "AbortError") throw error; };

for (const form of document.querySelectorAll("form[data-travel]")) {
  form.classList.add("live");
  form.addEventListener("input", () => {
    swap(`${form.action}?${new URLSearchParams(new FormData(form))}`).catch(quiet);
  });
}

document.addEventListener("submit", async (event) => {
  if (!event.target.matches("form[data-all]")) return;
  event.preventDefault();
  const url = new URL(event.target.action);
  for (let after = Number(event.target.querySelector("input").value); after !== null; ) {
    await swap(`${url.pathname}?after=${after}`).catch(quiet);
    const next = document.querySelector("form[data-all] input").value;
    after = Number(next) > after ? Number(next) : null;
  }
  document.querySelector("form[data-all] button")?.focus();
});
