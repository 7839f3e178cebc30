import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { PluginSchema, type Plugin } from "./gen/millrace/plugins/v1/plugin_pb.ts";

/** A plugin as it stands in the `plugins` bucket under its name: a Plugin in protobuf's JSON. */
export function encodePluginRecord(plugin: Plugin): Uint8Array {
  return new TextEncoder().encode(toJsonString(PluginSchema, plugin));
}

/** @throws when the bytes are no plugin record */
export function decodePluginRecord(bytes: Uint8Array): Plugin {
  return fromJsonString(PluginSchema, new TextDecoder().decode(bytes), { ignoreUnknownFields: true });
}
