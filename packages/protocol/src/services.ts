import { EventService } from "./gen/millrace/events/v1/event_service_pb.ts";
import { JobService } from "./gen/millrace/jobs/v1/job_service_pb.ts";
import { PluginService } from "./gen/millrace/plugins/v1/plugin_service_pb.ts";
import { SystemService } from "./gen/millrace/system/v1/system_service_pb.ts";

/** Every service of the contract that a client may call. */
export const services = [JobService, PluginService, EventService, SystemService] as const;
