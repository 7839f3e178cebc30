import { getOption, type DescField, type DescMessage, type DescMethod, type DescService } from "@bufbuild/protobuf";
import { accessRule, errorTable, sessionCookies } from "@millrace/protocol";
import { createSchemaCollector, type JsonSchema, type SchemaCollector } from "./json-schema.ts";
import { httpRules, verbAndTemplate } from "./rest-routes.ts";

export interface OpenApiInfo {
  readonly title: string;
  readonly version: string;
  readonly description?: string;
}

/** Describes the REST form of services as OpenAPI 3.1, from their descriptors alone. */
export function buildOpenApi(services: readonly DescService[], info: OpenApiInfo): JsonSchema {
  const collector = createSchemaCollector();
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const service of services) {
    for (const method of service.methods) {
      httpRules(method).forEach((rule, index) => {
        const target = verbAndTemplate(rule);
        if (target === undefined || method.methodKind === "bidi_streaming") return;
        const [verb, template] = target;
        const path = template.replaceAll(/\{([A-Za-z0-9_.]+)=\*\}/g, "{$1}");
        const item = (paths[path] ??= {});
        item[verb.toLowerCase()] = operation(collector, method, path, rule.body, index);
      });
    }
  }
  return {
    openapi: "3.1.0",
    info,
    tags: services.map((service) => ({ name: service.name })),
    paths,
    components: {
      schemas: { ...collector.schemas, Error: errorSchema },
      securitySchemes: {
        token: { type: "http", scheme: "bearer" },
        browser: { type: "apiKey", in: "cookie", name: sessionCookies.access },
      },
      responses: { Error: { description: "Refused", content: json({ $ref: "#/components/schemas/Error" }) } },
    },
  };
}

const errorSchema: JsonSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message", "details", "requestId"],
      properties: {
        code: { type: "string", enum: Object.keys(errorTable) },
        message: { type: "string" },
        details: {
          type: "array",
          items: { type: "object", properties: { field: { type: "string" }, reason: { type: "string" } } },
        },
        requestId: { type: "string" },
      },
    },
  },
};

function operation(
  collector: SchemaCollector,
  method: DescMethod,
  path: string,
  body: string,
  index: number,
): JsonSchema {
  const variables = [...path.matchAll(/\{([A-Za-z0-9_.]+)\}/g)].map((match) => match[1] ?? "");
  const serverStream = method.methodKind === "server_streaming";
  const parameters = [
    ...variables.map((name) => ({
      name,
      in: "path",
      required: true,
      schema: schemaAt(collector, method.input, name),
    })),
    ...(body === "*" ? [] : queryParameters(collector, method.input, [...variables, body])),
    ...(serverStream ? [{ name: "Last-Event-ID", in: "header", schema: { type: "string" } }] : []),
  ];
  const out: JsonSchema = {
    operationId: index === 0 ? `${method.parent.name}.${method.name}` : `${method.parent.name}.${method.name}.${index}`,
    summary: sentence(method.name),
    tags: [method.parent.name],
    parameters,
    security: getOption(method, accessRule).permission === "public" ? [] : [{ token: [] }, { browser: [] }],
    responses: {
      200: { description: "Done", content: answerContent(collector, method) },
      default: { $ref: "#/components/responses/Error" },
    },
  };
  if (body !== "") {
    const field = method.input.fields.find((one) => one.name === body);
    const schema = field === undefined ? collector.message(method.input) : collector.field(field);
    out["requestBody"] = {
      required: true,
      content: method.methodKind === "client_streaming" ? { "application/x-ndjson": { schema } } : json(schema),
    };
  }
  return out;
}

function answerContent(collector: SchemaCollector, method: DescMethod): JsonSchema {
  const schema = collector.message(method.output);
  if (method.methodKind !== "server_streaming") return json(schema);
  return { "text/event-stream": { schema }, "application/x-ndjson": { schema } };
}

function json(schema: JsonSchema): JsonSchema {
  return { "application/json": { schema } };
}

function schemaAt(collector: SchemaCollector, desc: DescMessage, path: string): JsonSchema {
  let message: DescMessage | undefined = desc;
  let field: DescField | undefined;
  for (const name of path.split(".")) {
    field = message?.fields.find((one) => one.name === name);
    message = field?.message;
  }
  return field === undefined ? {} : collector.field(field);
}

// Scalars, enums, lists of them and timestamps can stand in a query; other messages cannot.
function queryParameters(collector: SchemaCollector, desc: DescMessage, taken: readonly string[]): JsonSchema[] {
  return desc.fields
    .filter((field) => !taken.includes(field.name) && field.fieldKind !== "map")
    .filter((field) => field.message === undefined || field.message.typeName === "google.protobuf.Timestamp")
    .map((field) => ({ name: field.jsonName, in: "query", schema: collector.field(field) }));
}

function sentence(name: string): string {
  const words = name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
