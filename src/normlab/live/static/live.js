// Keeps a study's page up to date: asks how far it is, and changes only what has changed.
{
  const main = document.getElementById("main"), now = document.getElementById("now");
  const body = document.getElementById("body"), said = document.getElementById("said");
  const trouble = document.getElementById("connection"), { url } = main.dataset;
  const OFTEN = 2000, SELDOM = 10000, LONGEST = 30000;  // milliseconds between two questions
  const QUIET = 20000;  // and at least between two announcements
  let etag = "", bodyTag = "", version = main.dataset.version, wait = OFTEN, timer = 0, asking = false;
  let announced = "", announcedAt = 0;

  // The parts of a page, and their texts as the server sent them: a drawing changes its part, not its text.
  const parts = (root) => [...root.children].filter((child) => child.id);
  const texts = new Map();
  const note = (root) => { for (const part of parts(root)) texts.set(part.id, part.outerHTML); };
  const parsed = (html) => new DOMParser().parseFromString(html, "text/html").body;

  const FOCUSABLE = "a[href], button, input, select, summary, [tabindex]";
  const key = (details) => details.id || details.dataset.key || details.querySelector("summary")?.textContent;
  const scrollers = (part) => [...part.querySelectorAll(".scroll, .figure, pre")];

  // Put a part in the place of another, with what its reader did to it.
  function replace(old, fresh) {
    const open = new Set([...old.querySelectorAll("details[open]")].map(key));
    for (const details of fresh.querySelectorAll("details")) if (open.has(key(details))) details.open = true;
    const drawings = [...old.querySelectorAll(".figure")].filter((box) => box.drawing);
    const scrolled = scrollers(old).map((box) => [box.scrollLeft, box.scrollTop]);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && [...old.querySelectorAll(FOCUSABLE)].indexOf(focused);
    const pagers = [...old.querySelectorAll(".paged")].map((box) => {
      const head = box.querySelector("th[aria-sort]");
      return {
        at: box.dataset.at,
        words: box.querySelector("input").value,
        column: head ? head.cellIndex : -1,
        order: head?.getAttribute("aria-sort"),
      };
    });
    old.replaceWith(fresh);
    // A drawing moves along, and is drawn anew only where its own text has changed.
    for (const box of drawings) {
      const place = document.getElementById(box.id);
      if (place && place !== box) {
        box.className = place.className;
        box.setAttribute("aria-label", place.getAttribute("aria-label"));
        place.replaceWith(box);
        fit(box);
      }
    }
    pageTables(fresh);
    [...fresh.querySelectorAll(".paged")].forEach((box, index) => {
      const before = pagers[index];
      if (!before) return;
      const input = box.querySelector("input"), sort = box.querySelectorAll("thead th")[before.column];
      for (let clicks = 0; sort && sort.getAttribute("aria-sort") !== before.order && clicks < 2; clicks++) sort.querySelector("button").click();
      input.value = before.words;
      input.dispatchEvent(new Event("input"));
      box.dispatchEvent(new CustomEvent("at", { detail: Number(before.at) }));
    });
    scrollers(fresh).forEach((box, index) => {
      if (scrolled[index]) [box.scrollLeft, box.scrollTop] = scrolled[index];
    });
    if (focused && !fresh.contains(document.activeElement)) {
      const same = focused.id && document.getElementById(focused.id);
      (same || fresh.querySelectorAll(FOCUSABLE)[place])?.focus({ preventScroll: true });
    }
  }

  // Change the parts of `root` to those of a text, and keep what is on the screen where it is.
  function update(root, html) {
    const fresh = parsed(html), wanted = parts(fresh);
    const seen = [...parts(now), ...parts(body)].find((part) => part.getBoundingClientRect().bottom > 0);
    const anchor = seen?.id, top = seen?.getBoundingClientRect().top;
    const ids = new Set(wanted.map((part) => part.id));
    for (const part of [...root.children]) if (!ids.has(part.id)) part.remove();
    let before = null;
    for (const part of wanted) {
      const text = part.outerHTML, old = document.getElementById(part.id);
      const place = document.importNode(part, true);
      if (!old) {
        if (before) before.after(place); else root.prepend(place);
        pageTables(place);
      } else if (texts.get(part.id) !== text) {
        replace(old, place);
      }
      texts.set(part.id, text);
      before = document.getElementById(part.id);
    }
    const order = wanted.map((part) => part.id);
    if (parts(root).map((part) => part.id).join() !== order.join()) root.append(...order.map((id) => document.getElementById(id)));
    const moved = anchor && document.getElementById(anchor);
    if (moved && scrollY > 0) scrollBy({ top: moved.getBoundingClientRect().top - top, behavior: "instant" });
  }

  async function draw() {
    for (const [name, text] of specifications()) {
      const box = document.getElementById("drawing-" + name);
      if (box && box.drawing?.text !== text) await drawFigure(name, text);
    }
  }

  // To those who listen rather than look: whole changes, and not all the time.
  function announce() {
    const text = document.getElementById("part-progress")?.dataset.said ?? "";
    if (!announced) announced = text;
    if (text === announced || Date.now() - announcedAt < QUIET) return;
    said.textContent = announced = text;
    announcedAt = Date.now();
  }

  function complain(text) {
    if (trouble.textContent !== text) trouble.textContent = text;
    trouble.hidden = !text;
  }

  async function asked(address, tag) {
    const answer = await fetch(address, {
      cache: "no-store",
      headers: tag ? { "If-None-Match": tag } : {},
      signal: AbortSignal.timeout(20000),
    });
    if (answer.status === 403) throw new Error("this server no longer knows this browser; open the address that it printed last");
    if (answer.status >= 500) throw new Error("the server answered " + answer.status);
    return answer;
  }

  async function look() {
    const answer = await asked(url + "/progress", etag);
    if (answer.status === 200) {
      etag = answer.headers.get("ETag") ?? "";
      update(now, await answer.text());
      announce();
      complain("");
    } else if (answer.status === 304) {
      announce();
      complain("");
    } else {
      etag = "";
      complain(parsed(await answer.text()).textContent.trim().replace(/\s+/g, " "));
      return;
    }
    const newest = answer.headers.get("X-Body-Version");
    if (newest && newest !== version) {
      const fresh = await asked(url + "/body", bodyTag);
      if (fresh.status === 200) {
        bodyTag = fresh.headers.get("ETag") ?? "";
        update(body, await fresh.text());
        await draw();
      }
      if (fresh.ok || fresh.status === 304) version = fresh.headers.get("X-Body-Version") ?? newest;
    }
  }

  async function poll() {
    if (asking || document.hidden) return;
    asking = true;
    clearTimeout(timer);
    try {
      await look();
      wait = document.querySelector("#part-progress[data-done]") ? SELDOM : OFTEN;
    } catch (error) {
      wait = Math.min(2 * wait, LONGEST);
      const why = /^(this|the) server/.test(error.message) ? ": " + error.message : "";
      complain(`Connection lost${why}. What is shown may be old; trying again.`);
    }
    asking = false;
    timer = setTimeout(poll, wait);
  }

  note(now);
  note(body);
  document.addEventListener("visibilitychange", poll);
  timer = setTimeout(poll, OFTEN);
}
