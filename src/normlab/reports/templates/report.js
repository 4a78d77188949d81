// A link to an arm opens its trials.
function openTarget() {
  const target = location.hash && document.querySelector(location.hash);
  const details = target && target.closest("details");
  if (details) { details.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", openTarget);
openTarget();
for (const spec of document.querySelectorAll("script[type='application/json'][id^='spec-']")) {
  const name = spec.id.slice(5);
  vegaEmbed("#drawing-" + name, JSON.parse(spec.textContent), {
    renderer: "svg",
    actions: { export: true, source: false, compiled: false, editor: false },
  }).catch((error) => console.error("figure " + name + ": " + error));
}
