// Long tables: a page of rows at a time, those that have every word of the filter.
function pageTables(root) {
  for (const box of root.querySelectorAll(".paged")) {
    const body = box.querySelector("tbody"), size = Number(box.dataset.page);
    const groups = [];  // a row, with the row of reasons behind it
    for (const row of [...body.rows, ...box.querySelector("template").content.querySelectorAll("tr")]) {
      if (row.classList.contains("why") && groups.length) groups.at(-1).push(row); else groups.push([row]);
    }
    const texts = new Map(groups.map((group) => [group, group.map((row) => row.textContent).join(" ").toLowerCase()]));
    const pager = box.querySelector(".pager"), [back, on] = pager.querySelectorAll("button");
    const input = pager.querySelector("input"), status = pager.querySelector("span");
    let ordered = groups, found = groups, page = 0;
    const show = () => {
      const pages = Math.max(1, Math.ceil(found.length / size));
      page = Math.min(Math.max(page, 0), pages - 1);
      body.replaceChildren(...found.slice(page * size, (page + 1) * size).flat());
      box.dataset.at = page;
      const focused = document.activeElement;
      back.disabled = page === 0;
      on.disabled = page === pages - 1;
      // A disabled button loses the keyboard's place.
      if (focused === back && back.disabled) (on.disabled ? input : on).focus();
      if (focused === on && on.disabled) (back.disabled ? input : back).focus();
      const what = `${found.length || "none"} of ${groups.length}`;
      status.textContent = found.length ? `page ${page + 1} of ${pages}: ${what}` : what;
    };
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      found = ordered.filter((group) => words.every((word) => texts.get(group).includes(word)));
      page = 0;
      show();
    };
    input.addEventListener("input", filter);
    box.addEventListener("at", (event) => { page = event.detail; show(); });
    back.addEventListener("click", () => { page -= 1; show(); });
    on.addEventListener("click", () => { page += 1; show(); });
    if ("sort" in box.dataset) {
      const value = (group, column) => group[0].cells[column].textContent.trim();
      box.querySelectorAll("thead th").forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        head.replaceChildren(button);
        button.addEventListener("click", () => {
          const falls = head.getAttribute("aria-sort") !== "descending";
          box.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
          head.setAttribute("aria-sort", falls ? "descending" : "ascending");
          const keys = new Map(groups.map((group) => [group, parseFloat(value(group, column).replaceAll(",", ""))]));
          ordered = [...groups].sort((one, other) => {
            const [a, b] = [keys.get(one), keys.get(other)];
            if (column === 0 || (isNaN(a) && isNaN(b))) {
              return (falls ? 1 : -1) * value(one, column).localeCompare(value(other, column), undefined, { numeric: true });
            }
            if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);  // without a number: last
            return falls ? b - a : a - b;
          });
          filter();
        });
      });
    }
    pager.hidden = false;
    show();
  }
}
pageTables(document);
