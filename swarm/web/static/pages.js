// What the pages do by themselves: follow a session, search while typing, keep clocks going. All works without it, too.

const drift = Date.now() / 1000 - Number(document.body.dataset.now || Date.now() / 1000); // reader's clock before the server's

// ---- clocks: <span data-since="unix seconds"> counts up -----------------------------------------------------------

function told(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

setInterval(() => {
  const now = Date.now() / 1000 - drift;
  for (const clock of document.querySelectorAll("[data-since]")) clock.textContent = told(now - Number(clock.dataset.since));
}, 1000);

// ---- following a session: the server sends what changed, and only while somebody looks ----------------------------

const late = {}; // what changed in a part while somebody typed in it
document.addEventListener("focusout", () => setTimeout(() => {
  const put = { ...late };
  for (const id of Object.keys(put)) delete late[id];
  change({ put, add: {}, swap: {} });
}, 1500)); // after the click that may have taken the focus

function change({ put, add, swap }) {
  for (const [id, inside] of Object.entries(put)) {
    const there = document.getElementById(id);
    if (there?.querySelector("input:focus, textarea:focus")) late[id] = inside; // somebody types there
    else if (there) there.innerHTML = inside; // made by our server, which escaped all foreign text
  }
  for (const [id, marks] of Object.entries(add)) document.getElementById(id)?.insertAdjacentHTML("beforeend", marks);
  for (const [id, mark] of Object.entries(swap)) {
    const there = document.getElementById(id);
    if (there) there.outerHTML = mark;
  }
  if (put.gains !== undefined) {
    const newest = document.querySelector("#gains tbody tr");
    if (newest) document.getElementById("news").textContent = `A gain was kept: ${newest.textContent.trim().replace(/\s+/g, " ")}`;
  }
}

const followed = document.querySelector("[data-live]");
if (followed) {
  let source = null;
  let key = followed.dataset.key;
  const follow = () => {
    source = new EventSource(`${followed.dataset.live}?${new URLSearchParams({ by: followed.dataset.by, key })}`);
    source.onmessage = (event) => change(JSON.parse(event.data));
    key = ""; // once away, the page no longer knows where the session stood: it is sent everything anew
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); source = null; } else if (!source) follow();
  });
  if (!document.hidden) follow();
}

// ---- searching and filtering while typing --------------------------------------------------------------------------

for (const form of document.querySelectorAll("[data-live-filter]")) {
  const into = document.getElementById(form.dataset.liveFilter);
  let waiting = 0;
  let asked = null;
  const ask = async () => {
    const wanted = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    asked?.abort();
    asked = new AbortController();
    history.replaceState(null, "", `${form.action.split("?")[0]}?${wanted}`);
    wanted.set("part", into.id);
    try {
      const answer = await fetch(`${form.action.split("?")[0]}?${wanted}`, { signal: asked.signal });
      if (answer.ok) into.innerHTML = await answer.text();
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  };
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(ask, 180); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waiting); ask(); });
}

// ---- small things ----------------------------------------------------------------------------------------------------

document.addEventListener("click", (event) => {
  const mark = event.target.closest("[data-go]");
  if (mark) location.assign(mark.dataset.go);
});
document.addEventListener("change", (event) => { if (event.target.matches("[data-submit]")) event.target.form.submit(); });
document.addEventListener("submit", (event) => {
  const ask = event.submitter?.dataset.ask;
  if (ask && !confirm(ask)) event.preventDefault();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    const search = document.querySelector('input[type="search"]');
    if (search) { event.preventDefault(); search.focus(); } else location.assign("/notebook");
  }
});
