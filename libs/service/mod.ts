export { type Auth, authFromEnv, type Token, tokenHash } from './auth.ts';
export {
  type CallOptions,
  type ClientOptions,
  createClient,
  type ServiceClient,
} from './client.ts';
export { parseJson } from './body.ts';
export { allowedFromEnv } from './guard.ts';
export { type HttpServer, type ServeHttpOptions, serveHttp } from './http.ts';
export type { Outcome } from './invoke.ts';
export { type NatsServer, type ServeNatsOptions, serveNats } from './nats.ts';
export { DEFAULT_RATES, type Rate, type RateClass, type Rates } from './rate-limit.ts';
export { type OpenApiDocument, openApiDocument } from './openapi.ts';
export {
  answerSubjects,
  type Answering,
  type AnswerOptions,
  joinedHeader,
  type SubjectRequest,
} from './requests.ts';
export type { Mount } from './routes.ts';
export {
  type CallData,
  type CallInput,
  type Ctx,
  defineService,
  type Handler,
  type Handlers,
  type LiveEvent,
  type Operation,
  type OutsideAnswer,
  type OutsideRequest,
  Reply,
  reply,
  type Service,
} from './service.ts';
export { QUEUE_GROUP, subjectOf } from './subjects.ts';
