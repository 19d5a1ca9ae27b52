// The live update: puts the parts that the server sends in the place of the old ones. Everything else works without it.
"use strict";
(() => {
  const parts = new Map();
  for (const element of document.querySelectorAll("[data-part]")) parts.set(element.dataset.part, element);
  if (!parts.size || !window.EventSource) return;
  const rack = document.querySelector("[data-rack]");
  const address = rack ? "/live?rack=" + encodeURIComponent(rack.dataset.rack) : "/live";
  const says = document.getElementById("live");
  const clock = document.querySelector("footer time");
  let source = null;

  function say(words) {
    if (says.textContent !== words) says.textContent = words;
  }

  function put(key, html) {
    const element = parts.get(key);
    // Who is in the middle of reading or following something there keeps his place.
    if (!element || element.contains(document.activeElement) || !window.getSelection().isCollapsed) return;
    element.innerHTML = html;
    const badge = element.querySelector(".badge");
    if (element.classList.contains("card") && badge) element.className = "card " + badge.classList[1];
  }

  function open() {
    source = new EventSource(address);
    source.onmessage = (event) => {
      const made = JSON.parse(event.data);
      for (const key of Object.keys(made)) put(key, made[key]);
      clock.textContent = new Date().toISOString().slice(0, 19).replace("T", " ");
      say("live");
    };
    source.onerror = () => {
      say("not live: what you see is of the time beside this");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 10000);
    };
  }

  window.addEventListener("pagehide", () => source && source.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
})();
