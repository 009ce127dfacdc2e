// What the staff pages need beside unfold's htmx and Alpine: focus, tails, single clicks.
"use strict";

function toTheEnd(pre) {
  pre.scrollTop = pre.scrollHeight;
}

// A console follows its end, unless somebody scrolled up to read.
let reading = null;

document.addEventListener("htmx:beforeSwap", () => {
  const pre = document.querySelector("pre[data-tail]");
  const atEnd = !pre || pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 4;
  reading = atEnd ? null : pre.scrollTop;
});

document.addEventListener("htmx:afterSettle", () => {
  const pre = document.querySelector("pre[data-tail]");
  if (!pre) return;
  if (reading === null) toTheEnd(pre);
  else pre.scrollTop = reading;
});

// A dialog takes the focus, keeps it while it is open, and gives it back.
let opener = null;

document.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target?.id !== "modal-content") return;
  if (!opener) opener = document.activeElement;
  const first = event.detail.target.querySelector(
    "input:not([type=hidden]), select, textarea, button, pre[tabindex]"
  );
  // Alpine shows the dialog after this event.
  setTimeout(() => first?.focus(), 60);
});

document.addEventListener("keydown", (event) => {
  const dialog = document.getElementById("modal-content");
  if (!dialog || dialog.offsetParent === null) return;
  if (event.key === "Escape") {
    opener?.focus();
    opener = null;
    return;
  }
  if (event.key !== "Tab") return;
  const stops = [...dialog.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea")]
    .filter((element) => element.offsetParent !== null);
  if (!stops.length) return;
  const edge = event.shiftKey ? stops[0] : stops[stops.length - 1];
  if (document.activeElement === edge || !dialog.contains(document.activeElement)) {
    event.preventDefault();
    (event.shiftKey ? stops[stops.length - 1] : stops[0]).focus();
  }
});

// A form that must be sent once: the server makes sure, this only shows it.
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-once]")) return;
  const button = event.target.querySelector("button[type=submit]");
  setTimeout(() => {
    button.disabled = true;
    button.setAttribute("aria-busy", "true");
  });
});

window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[data-once] button[aria-busy]")) {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
});

// select2 gives its search field no name, and its list children that no list may have.
function repairSelect2(box) {
  const select = box.closest(".select2")?.previousElementSibling;
  const name = select?.labels?.[0]?.textContent.trim();
  const parts = [box, ...box.querySelectorAll("li")];
  for (const part of parts) part.setAttribute("role", "presentation");
  if (name) box.querySelector(".select2-search__field")?.setAttribute("aria-label", name);
}

document.addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => {
    document.querySelectorAll("ul.select2-selection__rendered").forEach(repairSelect2);
  }).observe(document.body, { childList: true, subtree: true });
});

// A table wider than its place is scrolled by keys too; others are no stop on their way.
function reachByKeys() {
  for (const box of document.querySelectorAll(".gc-scroll")) {
    const isWide = box.scrollWidth > box.clientWidth;
    const title = box.closest("[aria-labelledby]")?.getAttribute("aria-labelledby");
    const named = { tabindex: "0", role: "region", "aria-labelledby": title };
    for (const [name, value] of Object.entries(named)) {
      if (isWide && value) box.setAttribute(name, value);
      else box.removeAttribute(name);
    }
  }
}

document.addEventListener("htmx:afterSettle", reachByKeys);
document.addEventListener("DOMContentLoaded", () => {
  new ResizeObserver(reachByKeys).observe(document.body);
});

// While Alpine has not begun the page is hidden, and a browser focuses nothing hidden.
document.addEventListener("alpine:initialized", () => {
  setTimeout(() => document.querySelector("[autofocus]")?.focus());
});
