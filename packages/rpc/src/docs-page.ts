/** A page that reads the API's own description and lets a person try each call. No script or style from elsewhere. */
export function docsPage(title: string, openApiPath: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); --soft: color-mix(in srgb, currentColor 6%, transparent); }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.5rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
summary { cursor: pointer; padding: .5rem .75rem; display: flex; gap: .75rem; align-items: baseline; flex-wrap: wrap; }
details > div { border-top: 1px solid var(--line); padding: .75rem; }
.verb { font-weight: 700; font-size: .8rem; min-width: 4rem; }
code, pre, textarea, input { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: .6rem; border-radius: 4px; overflow: auto; max-height: 24rem; white-space: pre-wrap; overflow-wrap: anywhere; }
label { display: grid; grid-template-columns: 12rem 1fr; gap: .5rem; margin: .3rem 0; align-items: center; }
input, textarea { width: 100%; padding: .3rem .4rem; border: 1px solid var(--line); border-radius: 4px; background: transparent; color: inherit; }
textarea { min-height: 7rem; } button { padding: .35rem .9rem; margin: .4rem .4rem .4rem 0; }
.muted { opacity: .7; }
</style>
</head>
<body>
<h1>${escapeHtml(title)}</h1>
<p class="muted">The same methods answer by REST, Connect, gRPC, gRPC-web and NATS. Machine-readable: <a href="${openApiPath}">${openApiPath}</a></p>
<label><code>Token</code><input id="token" type="password" autocomplete="off" placeholder="of millrace tokens show, or an access token"></label>
<main id="api">Loading…</main>
<script>
const el = (tag, props = {}, ...children) => { const node = Object.assign(document.createElement(tag), props); node.append(...children); return node; };
const example = (schema, spec, depth = 0) => {
  if (schema.$ref) schema = spec.components.schemas[schema.$ref.split("/").pop()] ?? {};
  if (schema.enum) return schema.enum[Math.min(1, schema.enum.length - 1)];
  if (schema.type === "object") return depth > 3 ? {} : Object.fromEntries(Object.entries(schema.properties ?? {}).map(([name, value]) => [name, example(value, spec, depth + 1)]));
  if (schema.type === "array") return [];
  if (schema.type === "boolean") return false;
  if (schema.type === "integer" || schema.type === "number") return 0;
  if (schema.format === "date-time") return new Date().toISOString();
  return schema.type === "string" ? "" : null;
};
const operation = (spec, path, verb, op) => {
  const inputs = new Map();
  const form = el("div");
  for (const parameter of op.parameters ?? []) {
    const input = el("input", { placeholder: parameter.schema?.type ?? "" });
    inputs.set(parameter, input);
    form.append(el("label", {}, el("code", { textContent: parameter.name + (parameter.required ? " *" : "") }), input));
  }
  let body;
  const content = op.requestBody && Object.entries(op.requestBody.content)[0];
  if (content) {
    body = el("textarea", { value: content[0].includes("ndjson") ? JSON.stringify(example(content[1].schema, spec)) : JSON.stringify(example(content[1].schema, spec), null, 2) });
    form.append(el("p", { className: "muted", textContent: "Body, " + content[0] + " (leave out what you do not need)" }), body);
  }
  const out = el("pre", { hidden: true });
  let running;
  const send = el("button", { textContent: "Send" });
  send.onclick = async () => {
    running?.abort();
    running = new AbortController();
    let url = path;
    const query = new URLSearchParams();
    const headers = content ? { "content-type": content[0] } : {};
    const token = document.getElementById("token").value.trim();
    if (token !== "") headers.authorization = "Bearer " + token;
    for (const [parameter, input] of inputs) {
      if (input.value === "") continue;
      if (parameter.in === "path") url = url.replace("{" + parameter.name + "}", encodeURIComponent(input.value));
      else if (parameter.in === "query") query.append(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    if (query.size > 0) url += "?" + query;
    out.hidden = false;
    out.textContent = verb.toUpperCase() + " " + url + "\\n";
    try {
      const response = await fetch(url, { method: verb.toUpperCase(), headers, body: body?.value, signal: running.signal });
      out.textContent += response.status + " " + response.statusText + "\\n\\n";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (let next = await reader.read(); !next.done; next = await reader.read()) { text += next.value; out.append(next.value); }
      if (response.headers.get("content-type")?.startsWith("application/json")) out.textContent = out.textContent.replace(text, JSON.stringify(JSON.parse(text), null, 2));
    } catch (error) { out.append(String(error)); }
  };
  const stop = el("button", { textContent: "Stop" });
  stop.onclick = () => running?.abort();
  form.append(el("div", {}, send, stop), out);
  return el("details", {}, el("summary", {}, el("span", { className: "verb", textContent: verb.toUpperCase() }), el("code", { textContent: path }), el("span", { className: "muted", textContent: op.summary })), form);
};
fetch("${openApiPath}").then((response) => response.json()).then((spec) => {
  const api = document.getElementById("api");
  api.textContent = "";
  for (const { name } of spec.tags) {
    api.append(el("h2", { textContent: name }));
    for (const [path, item] of Object.entries(spec.paths)) for (const [verb, op] of Object.entries(item)) if (op.tags.includes(name)) api.append(operation(spec, path, verb, op));
  }
}).catch((error) => { document.getElementById("api").textContent = String(error); });
</script>
</body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
