// The page's figures, and links that open what they lead to. A live page calls these too.

// A link to an arm opens its trials.
function openTarget() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView(); }
}

// The texts of figures' specifications by name.
function specifications() {
  const found = document.querySelectorAll("script[type='application/json'][id^='spec-']");
  return new Map([...found].map((script) => [script.id.slice(5), script.textContent]));
}

// As wide as its box has room for, down to a plot of 200 pixels: where it is one plot.
async function fit(box) {
  const { view, width } = box.drawing;
  const svg = box.querySelector("svg"), around = svg.width.baseVal.value - view.width();
  const room = Math.min(width, Math.max(box.clientWidth - around, 200));
  if (width && Math.abs(room - view.width()) > 1) await view.width(room).resize().runAsync();
  // What is still too wide is drawn smaller, if its text can be read then; otherwise the box scrolls.
  const whole = svg.width.baseVal.value, lead = box.classList.contains("lead");
  svg.classList.toggle("shrinks", lead || box.clientWidth >= 0.6 * whole);
  svg.style.minWidth = lead ? 0.6 * whole + "px" : "";
}

// Draw a figure into its box; what stood there stays until the new drawing is ready.
async function drawFigure(name, text) {
  const box = document.getElementById("drawing-" + name), spec = JSON.parse(text);
  if (!box) return;
  const made = document.createElement("div");
  try {
    const { view } = await vegaEmbed(made, spec, {
      renderer: "svg",
      actions: { export: true, source: false, compiled: false, editor: false },
      // The page's own style has rules for these. A live page's policy forbids styles and code made by scripts.
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
      ast: "live" in document.body.dataset,
    });
    if (box.drawing) box.drawing.view.finalize();
    const plot = typeof spec.width === "number" && !text.includes('"type":"image"');  // images have sizes of their own
    box.drawing = { view, text, width: plot ? spec.width : 0 };
    box.replaceChildren(made);
    // Vega makes the files of its links at a click of the mouse; the keyboard has none.
    for (const link of made.querySelectorAll("a")) link.addEventListener("focus", () => link.dispatchEvent(new Event("mousedown")));
    await fit(box);
  } catch (error) {
    console.error("figure " + name + ": " + error);
  }
}

addEventListener("hashchange", openTarget);
addEventListener("resize", () => {
  for (const box of document.querySelectorAll(".figure")) if (box.drawing) fit(box);
});
openTarget();
for (const [name, text] of specifications()) drawFigure(name, text);
