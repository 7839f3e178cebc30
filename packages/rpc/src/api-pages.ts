import type { DescService } from "@bufbuild/protobuf";
import { docsPage } from "./docs-page.ts";
import type { StaticPage } from "./http-handler.ts";
import { buildOpenApi, type OpenApiInfo } from "./open-api.ts";

/** The API's description at /openapi.json, and the page that shows it at /docs. */
export function apiPages(services: readonly DescService[], info: OpenApiInfo): ReadonlyMap<string, StaticPage> {
  return new Map([
    ["/openapi.json", { contentType: "application/json", body: JSON.stringify(buildOpenApi(services, info)) }],
    [
      "/docs",
      { contentType: "text/html; charset=utf-8", body: docsPage(`${info.title} ${info.version}`, "/openapi.json") },
    ],
  ]);
}
