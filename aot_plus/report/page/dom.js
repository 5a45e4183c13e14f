// Builds elements. All text is inserted as text nodes: names are never HTML.

/** Builds an HTML element. Attributes that are functions become listeners; null and false ones are left out. */
function h(tag, attributes, ...children) {
  return build(document.createElement(tag), attributes, children);
}

/** Builds an SVG element. */
function s(tag, attributes, ...children) {
  return build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child != null));
  return element;
}

/** Draws once the element is on the page, and again whenever its width changes. */
function whenResized(element, draw) {
  let last = 0;
  const observer = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (!element.isConnected) observer.disconnect();
    else if (width > 0 && width !== last) draw((last = width));
  });
  observer.observe(element);
}
