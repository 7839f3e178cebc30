export { anonymous, CallContext, callOf, type CallInit, type Identity } from "./call-context.ts";
export {
  bindService,
  createPipeline,
  defaultPipelineLimits,
  type CallObserver,
  type Pipeline,
  type PipelineLimits,
  type PipelineMethod,
  type PipelineOptions,
  type ServiceBinding,
} from "./pipeline.ts";
export { createGrpcHandler, createHttpHandler, type DoorOptions, type StaticPage } from "./http-handler.ts";
export type { Exchange, ReplyHeaders } from "./exchange.ts";
export type { Intercept, Interception, Refusal } from "./interception.ts";
export { refuseExchange } from "./refuse-exchange.ts";
export { defaultCors, type CorsOptions } from "./cors.ts";
export {
  errorBody,
  errorCodeFromName,
  errorCodeName,
  errorDetails,
  fieldError,
  restStatus,
  toConnectError,
} from "./rpc-error.ts";
export { createDirectTransport } from "./direct-transport.ts";
export { createNatsTransport } from "./nats-transport.ts";
export type { NatsTransportOptions, RpcBus } from "./pending-calls.ts";
export { serveNats, type NatsServer, type ServeNatsOptions } from "./serve-nats.ts";
export { createGrpcTransport, type GrpcTransportOptions } from "./grpc-transport.ts";
export { createMessageValidator } from "./validation.ts";
export { listenGrpc } from "./listen-grpc.ts";
export { forwardService, type ForwardOptions } from "./forward-service.ts";
export { createHealthService, type HealthService } from "./health-service.ts";
export { reflectionServices } from "./reflection-service.ts";
export { buildOpenApi, type OpenApiInfo } from "./open-api.ts";
export { apiPages } from "./api-pages.ts";
export { openNatsTransport, type NatsTransport } from "./open-nats-transport.ts";

export type { HandlerContext, ServiceImpl, Transport as RpcTransport } from "@connectrpc/connect";
export { Code, ConnectError, createClient } from "@connectrpc/connect";
export { AnswerBudget } from "./answer-budget.ts";
export { BodyWatch, type BodyLimits } from "./body-watch.ts";
export { callerOf } from "./caller-of.ts";
export { csrfTokenOf } from "./csrf-token.ts";
