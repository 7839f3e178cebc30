export { ActorError, type ActorErrorCode } from "./actor-error.ts";
export type { Actor, ActorContext, ActorRef, ActorSpec, AskOptions, ExitReason, RestartPolicy } from "./actor-ref.ts";
export { ActorSystem, type ActorSystemOptions } from "./actor-system.ts";
export { systemClock, type Clock } from "./clock.ts";
export type { Health } from "./health.ts";
export { Mailbox } from "./mailbox.ts";
export type { RemoteHandler, RemoteTransport } from "./remote-transport.ts";
export { defaultRestartLimits, restartDelayMs, RestartIntensity, type RestartLimits } from "./restart-intensity.ts";
export type { ChildSpec, Strategy, Supervisor, SupervisorSpec } from "./supervisor.ts";
