const NEAR = 18; // pixels from the pointer within which a point shows its tooltip

export default function ({ parentElement, data, setStateValue }) {
  const plot = parentElement.querySelector(".plot");
  const drawing = plot.querySelector(".drawing");
  const tip = plot.querySelector(".tip");
  (parentElement.host ?? plot).style.colorScheme = data.dark ? "dark" : "light";

  if (plot.drawn !== data.drawing) {
    plot.drawn = data.drawing;
    drawing.innerHTML = data.drawing;
    for (const title of [...drawing.querySelectorAll("title")]) {
      title.parentNode.dataset.tip = title.textContent;
      title.remove();
    }
  }

  plot.classList.toggle("selectable", data.selectable);
  const select = (mark) => setStateValue("selected", mark.dataset.key);
  for (const mark of data.selectable ? drawing.querySelectorAll("[data-key]") : []) {
    mark.classList.toggle("selected", mark.dataset.key === data.selected);
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", mark.dataset.tip);
    mark.onclick = () => select(mark);
    mark.onkeydown = (event) => (event.key === "Enter" || event.key === " ") && (event.preventDefault(), select(mark));
    mark.onfocus = () => show(mark);
    mark.onblur = hide;
  }

  function nearest(event) {
    let found = null;
    let least = NEAR;
    for (const point of drawing.querySelectorAll("circle[data-tip]")) {
      const box = point.getBoundingClientRect();
      const distance = Math.hypot(event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2);
      if (distance < least) [found, least] = [point, distance];
    }
    return found;
  }

  function show(mark) {
    const frame = plot.getBoundingClientRect();
    const box = mark.getBoundingClientRect();
    tip.textContent = mark.dataset.tip;
    tip.hidden = false;
    const left = Math.min(box.x + box.width / 2 - frame.x + 10, frame.width - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    tip.style.top = `${Math.max(0, Math.max(box.y, frame.y) - frame.y - tip.offsetHeight - 6)}px`;
  }

  function hide() {
    tip.hidden = true;
  }

  drawing.onpointermove = (event) => {
    const mark = event.target.closest?.("[data-tip]") ?? nearest(event);
    mark ? show(mark) : hide();
  };
  drawing.onpointerleave = hide;
  return hide;
}
