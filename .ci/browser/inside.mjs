// What is asked of a page from inside it. Each function is sent to the browser as text, so it stands alone, and gives a list of what is
// wrong, or facts as JSON.

/** References, ids, figures, and what no page of ours has. */
export function structure() {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const of = (e) => e.outerHTML.slice(0, 120).replace(/\s+/g, " ");
  const ids = new Set();
  for (const e of all("[id]")) {
    if (ids.has(e.id) || !e.id) wrong.push(`the id "${e.id}" twice: ${of(e)}`);
    ids.add(e.id);
  }
  const named = (e, name, text) => text.split(/\s+/).filter((id) => !ids.has(id)).forEach((id) => wrong.push(`${name} leads to no "${id}": ${of(e)}`));
  const lists = ["for", "headers", "form", "list", "popovertarget", "aria-labelledby", "aria-describedby", "aria-controls", "aria-owns", "aria-details",
    "aria-activedescendant", "aria-flowto", "aria-errormessage"];
  for (const name of lists) for (const e of all(`[${name}]`)) named(e, name, e.getAttribute(name));
  for (const e of all("[href]")) {
    const to = e.getAttribute("href");
    if (to.startsWith("#")) named(e, "href", decodeURIComponent(to.slice(1)));
    // The second is no icon, which browsers would ask for otherwise.
    else if (e.localName === "link" && (to === "/style.css" || to === "data:,")) continue;
    else if (e.localName !== "a") wrong.push(`an address outside a link: ${of(e)}`);
    else if (e.localName === "a" && !/^(https:\/\/|\/$)/.test(to)) wrong.push(`a link to ${to}`);
  }
  for (const name of ["src", "srcset", "poster", "data", "formaction", "background", "ping", "xlink:href"])
    for (const e of all("*")) if (e.hasAttribute(name) && !e.getAttribute(name).startsWith("#")) wrong.push(`an address in ${name}: ${of(e)}`);
  for (const e of all("style")) if (/url\(|@import/.test(e.textContent)) wrong.push("a style sheet loads something");
  for (const e of all("*")) for (const { name } of e.attributes) if (name === "style" || name.startsWith("on")) wrong.push(`the attribute ${name}: ${of(e)}`);
  for (const e of all("figure")) {
    if (!e.querySelector("figcaption")?.textContent.trim()) wrong.push(`a figure without a caption: ${of(e)}`);
    // A list of texts is read as it stands.
    if (!e.querySelector("table, ol, ul")) wrong.push(`a figure without a table: ${of(e)}`);
  }
  for (const e of all("table")) if (!e.querySelector("caption, th")) wrong.push(`a table without a caption or headers: ${of(e)}`);
  if (!document.documentElement.lang || !document.title.trim()) wrong.push("no language or no title");
  return wrong;
}

/** Opens everything that opens. */
export function open_all() {
  document.querySelectorAll("details").forEach((details) => (details.open = true));
}

/** Texts that are wider than the page, or have to be scrolled sideways, which only tables, figures and code may. */
export function too_wide() {
  const wrong = [];
  const width = document.documentElement.clientWidth;
  if (document.scrollingElement.scrollWidth > width) wrong.push(`the page is ${document.scrollingElement.scrollWidth} wide, and the window ${width}`);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || seen.has(e) || e.closest("svg, script, style, [popover]:not(:popover-open)") || !e.checkVisibility()) continue;
    seen.add(e);
    let scroller = e;
    while (scroller && !/auto|scroll/.test(getComputedStyle(scroller).overflowX)) scroller = scroller.parentElement;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    // What only screen readers have is a pixel wide.
    const { left, right } = range.getBoundingClientRect();
    if (e.clientWidth === 1 || e.parentElement.clientWidth === 1 || right === left) continue;
    const moves = scroller && scroller !== document.documentElement && scroller.scrollWidth > scroller.clientWidth;
    const text = texts.currentNode.data.trim().slice(0, 60);
    if (moves && !e.closest("table, pre, code, math")) wrong.push(`has to be scrolled sideways: ${text}`);
    if (!moves && right > width + 1) wrong.push(`${Math.round(right - width)} too wide: ${text}`);
  }
  return wrong.slice(0, 10);
}

/** The contrast of texts in figures, which axe leaves out, to the mark behind them. The window must show all of the page. */
export function pale_labels() {
  const colour = (text) => {
    const parts = text?.match(/^rgba?\(([^)]*)\)/)?.[1].split(/[ ,/]+/).map(Number);
    return parts && { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
  };
  const light = ({ rgb }) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const wrong = [];
  for (const text of document.querySelectorAll("svg text")) {
    const { left, top, width, height } = text.getBoundingClientRect();
    if (!width || !text.textContent.trim() || !text.checkVisibility()) continue;
    const behind = document.elementsFromPoint(left + width / 2, top + height / 2).filter((e) => !text.contains(e) && !(e.localName === "text" || e.localName === "tspan"));
    const paints = (e) => {
      const style = getComputedStyle(e);
      const paint = e instanceof SVGElement && e.localName !== "svg" ? colour(style.fill) : colour(style.backgroundColor);
      const opacity = e instanceof SVGElement ? Number(style.fillOpacity) * Number(style.opacity) : 1;
      return paint && paint.alpha * opacity > 0.9 ? paint : null;
    };
    const back = behind.map(paints).find(Boolean) ?? { rgb: [255, 255, 255] };
    const style = getComputedStyle(text);
    const ink = colour(style.fill);
    if (!ink) continue;
    const [a, b] = [light(ink), light(back)].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    const enough = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if (ratio < enough) wrong.push(`contrast ${ratio.toFixed(2)} of "${text.textContent.trim().slice(0, 30)}", ${style.fill} on ${back.rgb}`);
  }
  return [...new Set(wrong)].slice(0, 10);
}

/** Tables and pictures that leave their frame on paper, which cannot be scrolled. */
export function cut_off() {
  const width = document.documentElement.clientWidth;
  const all = [...document.querySelectorAll("table, svg")].filter((e) => e.checkVisibility());
  const inside = (e) => e.closest("figure, section, main, body").getBoundingClientRect().right;
  const beyond = (e) => e.getBoundingClientRect().right - Math.min(width, inside(e));
  return all.filter((e) => beyond(e) > 1).map((e) => `${Math.round(beyond(e))} too wide: ${e.textContent.trim().slice(0, 60)}`);
}

/** How light the paper is, from 0 to 1. */
export function paper() {
  const opaque = (e) => getComputedStyle(e).backgroundColor.match(/^rgb\(([^)]*)\)/)?.[1].split(/[ ,]+/).map(Number);
  const rgb = opaque(document.body) ?? opaque(document.documentElement);
  return rgb ? (rgb[0] + rgb[1] + rgb[2]) / 765 : 1;
}

/** The words that a reader can see, where everything is open. */
export function words() {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement;
    if (e.closest("script, style, svg, [popover], select, textarea, [data-screen]") || !e.checkVisibility()) continue;
    const { width, height } = e.getBoundingClientRect();
    // What only screen readers have is a pixel large.
    if (width > 1 && height > 1) found.push({ text: texts.currentNode.data, folded: !!e.closest("details > :not(summary)") });
  }
  return found;
}

/** All that can be reached with a keyboard, by its place in the page. */
export function reachable() {
  window.places ??= new Map([...document.querySelectorAll("*")].map((e, i) => [e, i]));
  const all = [...document.querySelectorAll("a[href], button, summary, input, textarea, select, [tabindex='0']")];
  const there = (e) => !e.disabled && e.type !== "hidden" && e.checkVisibility({ visibilityProperty: true }) && !e.closest("[inert]");
  const own = (e) => e.localName !== "summary" || e === e.parentElement.querySelector(":scope > summary");
  return all.filter((e) => there(e) && own(e)).map((e) => ({ place: window.places.get(e), what: e.outerHTML.slice(0, 100).replace(/\s+/g, " ") }));
}

/** What has the focus, and whether that is seen. */
export function focused() {
  const e = document.activeElement;
  if (!e || e === document.body || e === document.documentElement) return null;
  const shows = (e) => {
    const style = getComputedStyle(e);
    const { width, height } = e.getBoundingClientRect();
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && width > 1 && height > 1;
  };
  const group = e.type === "radio" ? [...document.querySelectorAll("input[type=radio]")].filter((r) => r.name === e.name && r.form === e.form && !r.disabled) : [];
  return {
    place: window.places.get(e),
    what: e.outerHTML.slice(0, 100).replace(/\s+/g, " "),
    visible: [e, ...(e.labels ?? [])].some(shows),
    group: group.map((r) => window.places.get(r)),
    opens: e.localName === "summary" ? e.parentElement.open : null,
    popover: e.hasAttribute("popovertarget") ? e.getAttribute("popovertarget") : null,
    checked: e.checked ?? null,
  };
}
