// Checks pages in a browser and says all that is wrong with them. See ./run.

import { spawn, execFileSync } from "node:child_process";
import { createServer } from "node:http";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { Chrome } from "./chrome.mjs";
import { cut_off, focused, open_all, pale_labels, paper, reachable, structure, too_wide, words } from "./inside.mjs";

const { PELLUCID_AXE, PELLUCID_WORK: work, PELLUCID_SCREENSHOTS: pictures, PELLUCID_SERVES: program } = process.env;
const axe = readFileSync(PELLUCID_AXE, "utf8");
const faults = [];
if (pictures) mkdirSync(pictures, { recursive: true });
/** Keeps what is wrong with a page: a list of it, or whether it is right. */
const check = (page, what, wrong) => {
  if (wrong === true) return;
  for (const one of [].concat(wrong === false ? [""] : wrong)) faults.push(`${page}: ${what}${one ? `: ${one}` : ""}`);
};

/** Every violation that axe-core finds in what is seen now. */
async function violations(tab) {
  await tab.run(`${axe};0`);
  const found = await tab.run(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => ({ id, help, n: nodes.length, at: nodes[0].html.slice(0, 150), why: nodes[0].failureSummary }));
  });
  return found.map(({ id, help, n, at, why }) => `${id} (${help}), ${n} times, first ${at.replace(/\s+/g, " ")}: ${why.replace(/\s+/g, " ")}`);
}

/** Goes through the page by keyboard alone, opens what opens and chooses what can be chosen. */
async function keyboard(tab, name) {
  const seen = new Set();
  await tab.run(reachable);
  for (let step = 0; step < 5000; step++) {
    await tab.press("Tab");
    const now = await tab.run(focused);
    // After the last there is the browser itself.
    if (!now || seen.has(now.place)) break;
    seen.add(now.place);
    check(name, "no visible focus", now.visible || now.what);
    if (now.opens === false) {
      await tab.press("Enter");
      check(name, "Enter does not open", (await tab.run(focused))?.opens === true || now.what);
    }
    if (now.popover) {
      const shown = (id) => document.getElementById(id)?.matches(":popover-open");
      await tab.press("Enter");
      check(name, "Enter shows nothing", (await tab.run(shown, now.popover)) || now.what);
      await tab.press("Escape");
      check(name, "Escape does not close", !(await tab.run(shown, now.popover)) || now.what);
    }
    for (let i = 1; i <= now.group.length; i++) {
      await tab.press("ArrowDown");
      const next = await tab.run(focused);
      check(name, "an arrow does not choose", (next?.checked && now.group.includes(next.place)) || now.what);
      check(name, "no visible focus", next?.visible || next?.what || now.what);
      seen.add(next?.place);
    }
  }
  const missed = (await tab.run(reachable)).filter(({ place }) => !seen.has(place));
  check(name, "the keyboard does not reach", missed.map(({ what }) => what));
  return seen.size;
}

/** Whether everything is on paper, also what was folded. */
async function print(tab, name) {
  await tab.size(1280);
  await tab.run(() => document.querySelectorAll("details").forEach((details) => (details.open = false)));
  const { data } = await tab.send("Page.printToPDF", { paperWidth: 8.27, paperHeight: 11.69, printBackground: false });
  const file = join(work, `${name}.pdf`);
  writeFileSync(file, Buffer.from(data, "base64"));
  if (pictures) writeFileSync(join(pictures, `${name}.pdf`), Buffer.from(data, "base64"));
  const pages = Number(/^Pages: *(\d+)/m.exec(execFileSync("pdfinfo", [file], { encoding: "utf8" }))?.[1]);
  check(name, "no page is printed", pages > 0);
  const printed = execFileSync("pdftotext", ["-raw", file, "-"], { encoding: "utf8", maxBuffer: 1 << 28 }).replace(/\s+/g, "");
  // All that opens has to be on paper; of the rest, a page may leave out what is of no use there.
  await tab.run(open_all);
  const folded = (await tab.run(words)).filter(({ folded }) => folded);
  // A4 without its margins.
  await tab.size(718, 1000, { print: true });
  check(name, "leaves its frame on paper", await tab.run(cut_off));
  const count = { folded: 0, open: 0 };
  const lost = { folded: [], open: [] };
  const open = (await tab.run(words)).filter(({ folded }) => !folded);
  for (const { text, folded: is_folded } of [...folded, ...open]) {
    const piece = text.replace(/\s+/g, "");
    // In the letters that every machine has a font for, and long enough not to stand elsewhere by chance.
    if (piece.length < 5 || !/^[!-~]+$/.test(piece)) continue;
    const where = is_folded ? "folded" : "open";
    count[where]++;
    if (!printed.includes(piece)) lost[where].push(text.trim().slice(0, 60));
  }
  for (const where of ["folded", "open"]) if (lost[where].length > count[where] / 50) check(name, `not printed of what is ${where}`, `${lost[where].length} of ${count[where]} texts, such as "${lost[where].slice(0, 3).join('", "')}"`);
  await tab.size(1280);
  return pages;
}

/** Whether a page in several languages shows each of them, and one at a time. */
async function languages(tab, name) {
  const shown = [];
  for (let i = 0; i < (await tab.run(() => document.querySelectorAll("input[name=tongue]").length)); i++) {
    shown.push(await tab.run((i) => {
      document.querySelectorAll("input[name=tongue]")[i].click();
      return [...document.querySelectorAll("main")].filter((main) => main.checkVisibility()).map((main) => main.lang).join();
    }, i));
  }
  check(name, `languages one after another: ${shown.join("; ")}`, new Set(shown).size === shown.length && shown.every((lang) => lang && !lang.includes(",")));
}

/** Everything about one page, which may ask for the `allowed` addresses alone. */
async function page(chrome, url, name, { scripts = [true, false], prints = true, allowed = [url] } = {}) {
  const facts = [];
  const text = {};
  for (const on of scripts) {
    const tab = await chrome.tab();
    await tab.send("Emulation.setScriptExecutionDisabled", { value: !on });
    await tab.size(1280);
    await tab.open(url);
    const as = on ? name : `${name} without scripts`;
    check(as, "the browser complains", tab.complaints);
    check(as, "asks for", tab.asked.filter((address) => !allowed.includes(address)));
    text[on] = (await tab.run(words)).map(({ text }) => text).join(" ").replace(/\s+/g, " ");
    facts.push(`${await keyboard(tab, as)} by keyboard`);
    if (on || scripts.length === 1) {
      check(name, "structure", await tab.run(structure));
      await languages(tab, name);
      if (prints) facts.push(`${await print(tab, name)} printed pages`);
      await tab.run(open_all);
      for (const scheme of ["light", "dark"]) {
        for (const width of [1280, 390]) {
          await tab.size(width, 900, { scheme });
          check(`${name}, ${scheme}, ${width} wide`, "axe", await violations(tab));
        }
        const light = await tab.run(paper);
        check(name, `${scheme} paper of lightness ${light}`, scheme === "dark" ? light < 0.3 : light > 0.8);
        const height = await tab.run(() => document.documentElement.scrollHeight);
        await tab.size(1280, Math.min(height + 100, 60000), { scheme });
        check(`${name}, ${scheme}`, "figures", await tab.run(pale_labels));
      }
      // A window of 1280 at 400 %.
      await tab.size(320, 256);
      check(`${name} at 400 %`, "too wide", await tab.run(too_wide));
    }
    check(as, "the browser complains", tab.complaints);
    await tab.chrome.send("Target.closeTarget", { targetId: tab.target });
  }
  if (scripts.length === 2) check(name, "without scripts much is missing", text[false].length > 0.9 * text[true].length);
  if (pictures) await photograph(chrome, url, name);
  console.log(`${name}: ${facts.join(", ")}`);
}

/** Pictures at the widths of a phone, a laptop and A4, for people to look at. */
async function photograph(chrome, url, name) {
  const tab = await chrome.tab();
  for (const [kind, width, media] of [["phone", 390, {}], ["laptop", 1280, {}], ["a4", 794, { print: true }], ["dark", 1280, { scheme: "dark" }], ["400", 320, {}]]) {
    await tab.size(width, 900, media);
    await tab.open(url);
    writeFileSync(join(pictures, `${name}-${kind}.png`), await tab.picture());
  }
  await tab.chrome.send("Target.closeTarget", { targetId: tab.target });
}

/** The form of `explain --serve`: a browser sends it, and a page of another site cannot. */
async function form(chrome) {
  const serves = spawn(program, ["explain", "--serve", "-q"], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  serves.stderr.on("data", (text) => (said += text));
  const elsewhere = createServer((_, answer) => {
    answer.setHeader("Content-Type", "text/html");
    answer.end(`<title>elsewhere</title><form method="post" action="${address}"><input name="prompt" value="Mary"></form><script>document.forms[0].submit()</script>`);
  });
  let address = "";
  try {
    address = await new Promise((resolve, reject) => {
      serves.stdout.once("data", (line) => resolve(line.toString().trim()));
      serves.once("exit", (code) => reject(new Error(`explain --serve ended with ${code}: ${said}`)));
    });
    await page(chrome, address, "the form", { scripts: [true], prints: false, allowed: [address, `${address}style.css`, `${address}favicon.ico`] });
    for (const scripts of [true, false]) {
      const tab = await chrome.tab();
      await tab.send("Emulation.setScriptExecutionDisabled", { value: !scripts });
      await tab.size(1280);
      await tab.open(address);
      await tab.run(() => document.querySelector("textarea").focus());
      await tab.send("Input.insertText", { text: "Mary gave a drink to" });
      await tab.press("Tab");
      await tab.press("Tab");
      tab.complaints.length = 0;
      await tab.until_loaded(() => tab.press("Enter"));
      const title = await tab.run(() => document.querySelector("h1")?.textContent + document.body.textContent.includes("drink"));
      check("the form", "sent by a browser it gives no page", /true$/.test(title) && (await tab.run(() => document.querySelectorAll("figure").length)) > 3);
      check("the page that is served", "the browser complains", tab.complaints);
    }
    await new Promise((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    const tab = await chrome.tab();
    const answers = [];
    chrome.listeners.add(({ method, params, sessionId }) => {
      if (sessionId === tab.session && method === "Network.responseReceived" && params.response.url === address) answers.push(params.response.status);
    });
    await tab.open(`http://127.0.0.1:${elsewhere.address().port}/`);
    for (let i = 0; i < 100 && !answers.length; i++) await new Promise((resolve) => setTimeout(resolve, 50));
    check("the form", `another site sent it, and was answered with ${answers}`, answers.join() === "403");
  } finally {
    elsewhere.close();
    serves.removeAllListeners("exit");
    serves.kill("SIGINT");
  }
}

const begun = Date.now();
const chrome = new Chrome(work);
try {
  for (const file of process.argv.slice(2)) {
    const url = pathToFileURL(resolve(file)).href;
    const name = basename(dirname(resolve(file)));
    // What one language has shown needs not be shown by each of the program's own pages again.
    await page(chrome, url, `${name}-${basename(file, ".html")}`, { scripts: program && name !== "en" ? [true] : [true, false] });
  }
  if (program) await form(chrome);
} finally {
  await chrome.close();
}
for (const fault of faults) console.error(fault);
const seconds = Math.round((Date.now() - begun) / 1000);
if (faults.length) {
  console.error(`${faults.length} things are wrong`);
  process.exitCode = 1;
} else {
  console.log(`all is well, ${seconds} s`);
}
