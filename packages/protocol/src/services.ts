import { AuthService } from "./gen/millrace/identity/v1/auth_service_pb.ts";
import { TokenService } from "./gen/millrace/identity/v1/token_service_pb.ts";
import { UserService } from "./gen/millrace/identity/v1/user_service_pb.ts";
import { EventService } from "./gen/millrace/events/v1/event_service_pb.ts";
import { JobService } from "./gen/millrace/jobs/v1/job_service_pb.ts";
import { PluginService } from "./gen/millrace/plugins/v1/plugin_service_pb.ts";
import { AuditService } from "./gen/millrace/system/v1/audit_service_pb.ts";
import { LogService } from "./gen/millrace/system/v1/log_service_pb.ts";
import { SettingsService } from "./gen/millrace/system/v1/settings_service_pb.ts";
import { SystemService } from "./gen/millrace/system/v1/system_service_pb.ts";

/** Every service of the contract that a client may call. */
export const services = [
  JobService,
  PluginService,
  EventService,
  SettingsService,
  AuditService,
  LogService,
  SystemService,
] as const;

/** Those that a client may call besides where identity is switched on. */
export const identityServices = [AuthService, UserService, TokenService] as const;
