export { createLogger, type LoggerOptions } from './logger.ts';
export { redactText } from './redact.ts';
