import { PluginService } from "@millrace/protocol";
import { createPipeline, type Pipeline, type PipelineOptions } from "@millrace/rpc";
import type { Control } from "./start-control.ts";

/** A module of 16 MiB with its manifest. */
const uploadMaxBytes = 17 << 20;

/** The one pipeline before every method, for whatever door. */
export function controlPipeline(control: Control, hooks: Pick<PipelineOptions, "observer" | "trace"> = {}): Pipeline {
  return createPipeline({
    ...hooks,
    services: control.services,
    limits: {
      methodReadMaxBytes: { [`/${PluginService.typeName}/${PluginService.method.uploadPlugin.name}`]: uploadMaxBytes },
    },
  });
}
