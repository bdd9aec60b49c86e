// The API's description, made readable; the document itself is api/openapi.json.

import { h } from "./dom.js";

const ACCESS = { open: "for everyone", viewer: "viewer", operator: "operator" };

const name = (reference) => reference.split("/").at(-1);

/** A schema in a few words. */
function words(schema) {
  if (!schema || !Object.keys(schema).length) return "any value";
  if (schema.$ref) return name(schema.$ref);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(words).join(" | ");
  if (schema.type === "array") {
    if (schema.prefixItems) return `[${schema.prefixItems.map(words).join(", ")}]`;
    return `list of ${words(schema.items)}`;
  }
  if (schema.type === "object" && schema.additionalProperties) {
    return `object of ${words(schema.additionalProperties)}`;
  }
  return schema.type;
}

function fields(schema) {
  const rows = Object.entries(schema.properties ?? {}).map(([key, value]) => {
    const needed = schema.required?.includes(key) ? "" : " (may be left out)";
    return h("tr", {}, h("th", { scope: "row" }, h("code", {}, key)), h("td", {}, words(value) + needed));
  });
  return h("table", {}, ...rows);
}

function endpoint(path, method, operation) {
  const body = h("div", { class: "body" });
  if (operation.parameters.length) {
    body.append(h("h2", {}, "Parameters"), h("table", {}, ...operation.parameters.map((parameter) =>
      h("tr", {}, h("th", { scope: "row" }, h("code", {}, parameter.name)),
        h("td", {}, `${words(parameter.schema)}, in the ${parameter.in}`)))));
  }
  const content = operation.requestBody?.content["application/json"];
  if (content) body.append(h("h2", {}, "Body"), h("p", {}, words(content.schema)));
  body.append(h("h2", {}, "Answers"), h("table", {}, ...Object.entries(operation.responses).map(([status, answer]) => {
    const types = Object.entries(answer.content ?? {}).map(([type, { schema }]) =>
      schema ? words(schema) : type);
    return h("tr", {}, h("th", { scope: "row" }, status), h("td", {}, [answer.description, ...types].join(" · ")));
  })));
  const verb = method.toUpperCase();
  const flags = verb === "GET" ? "" : ` -X ${verb}`;
  const data = content ? " -H 'Content-Type: application/json' -d @body.json" : "";
  const address = new URL(`.${path}`, new URL("./", location.href)).href;
  const token = operation["x-access"] === "open" ? "" : " -H \"Authorization: Bearer $TOKEN\"";
  body.append(h("pre", {}, `curl${flags}${token}${data} ${address}`));
  return h("details", { class: "endpoint" },
    h("summary", {}, h("span", { class: `method ${verb}` }, verb), h("code", {}, path),
      h("small", {}, operation.summary), h("span", {}, h("small", {}, ACCESS[operation["x-access"]]))),
    body);
}

async function start() {
  const response = await fetch("api/openapi.json");
  if (response.status === 401) location.replace("login");
  const document_ = await response.json();
  const groups = new Map();
  for (const [path, methods] of Object.entries(document_.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const [tag] = operation.tags;
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(endpoint(path, method, operation));
    }
  }
  const panel = (title, ...children) => h("section", { class: "panel" },
    h("header", {}, h("h2", {}, title)), ...children);
  const schemas = Object.entries(document_.components.schemas).map(([key, schema]) =>
    h("details", { class: "endpoint" }, h("summary", {}, h("code", {}, key)),
      h("div", { class: "body" }, h("p", { class: "soft" }, schema.description?.split("\n")[0] ?? ""), fields(schema))));
  document.getElementById("main").append(
    h("div", { class: "head" }, h("h1", {}, "API"), h("small", {}, `version ${document_.info.version}`)),
    h("p", { class: "soft lead" }, document_.info.description.replaceAll("`", "")),
    h("div", { class: "side" },
      ...[...groups].map(([tag, entries]) => panel(tag, ...entries)), panel("types", ...schemas)));
}

start();
