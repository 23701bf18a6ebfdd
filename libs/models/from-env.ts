import { invalid } from '#libs/contracts';
import type { Logger } from 'pino';
import { openAiProvider } from './io-intelligence.ts';
import { LOCAL_MODEL, localProvider } from './local/provider.ts';
import type { ModelProvider } from './port.ts';
import { readPrices } from './prices.ts';

const IO_BASE_URL = 'https://api.intelligence.io.solutions/api/v1';
const OPENAI_BASE_URL = 'https://api.openai.com/v1';
const DELAY_MS_MAX = 600_000;

/** What modelFromEnv found. */
export type ConfiguredModel = {
  provider: ModelProvider;
  /** One plain line for the user; holds no secret. */
  announcement: string;
  /** The model for profiles that name none: IRONCLAW_MODEL, or the provider's usual one. */
  defaultModel: string;
};

type Env = Readonly<Record<string, string | undefined>>;
type Server = { name: string; apiKey?: string; baseUrl: string; defaultModel: string };

/**
 * Chooses the provider from the environment: io.intelligence where IO_INTELLIGENCE_API_KEY or
 * IO_INTELLIGENCE_BASE_URL is set, else any server named by OPENAI_API_KEY or OPENAI_BASE_URL, else
 * the local extractive model. A key goes only to the base URL of its own pair.
 *
 * IRONCLAW_LOCAL_MODEL_DELAY_MS (0 to 600 000) makes each answer of the local model take so long, to
 * watch a run.
 *
 * @throws {INVALID_REQUEST} a base URL, IRONCLAW_MODEL_PRICES or the delay is malformed
 */
export function modelFromEnv(
  env: Env,
  effects: { logger?: Logger; now?: () => number; random?: () => number } = {},
): ConfiguredModel {
  const server = chooseServer(env);
  if (server === undefined) {
    return {
      provider: localProvider({
        ...(effects.now && { now: effects.now }),
        delayMs: localDelay(env),
      }),
      announcement: 'No model key is set: using the local extractive model.',
      defaultModel: LOCAL_MODEL,
    };
  }
  const { name, baseUrl, apiKey } = server;
  const keyless = apiKey === undefined ? ' without a key' : '';
  const prices = readPrices(env['IRONCLAW_MODEL_PRICES']);
  return {
    provider: openAiProvider({ ...effects, name, baseUrl, prices, ...(apiKey && { apiKey }) }),
    announcement: `Using the model provider ${name} at ${new URL(baseUrl).host}${keyless}.`,
    defaultModel: value(env, 'IRONCLAW_MODEL') ?? server.defaultModel,
  };
}

function localDelay(env: Env): number {
  const text = value(env, 'IRONCLAW_LOCAL_MODEL_DELAY_MS') ?? '0';
  const delayMs = Number(text);
  if (Number.isInteger(delayMs) && delayMs >= 0 && delayMs <= DELAY_MS_MAX) return delayMs;
  throw invalid('IRONCLAW_LOCAL_MODEL_DELAY_MS', `must be 0 to ${DELAY_MS_MAX} milliseconds`);
}

function chooseServer(env: Env): Server | undefined {
  const io: Partial<Server> = pair(env, 'IO_INTELLIGENCE');
  const openai: Partial<Server> = pair(env, 'OPENAI');
  if (io.apiKey !== undefined || (io.baseUrl !== undefined && openai.apiKey === undefined)) {
    const defaultModel = 'meta-llama/Llama-3.3-70B-Instruct';
    return { name: 'io.intelligence', baseUrl: IO_BASE_URL, defaultModel, ...io };
  }
  if (openai.apiKey !== undefined || openai.baseUrl !== undefined) {
    return { name: 'openai', baseUrl: OPENAI_BASE_URL, defaultModel: 'gpt-4o-mini', ...openai };
  }
  return undefined;
}

function pair(env: Env, prefix: string): { apiKey?: string; baseUrl?: string } {
  const apiKey = value(env, `${prefix}_API_KEY`);
  const baseUrl = value(env, `${prefix}_BASE_URL`);
  if (baseUrl !== undefined) checkBaseUrl(`${prefix}_BASE_URL`, baseUrl);
  return { ...(apiKey && { apiKey }), ...(baseUrl && { baseUrl }) };
}

function checkBaseUrl(name: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw invalid(name, 'must be an http or https URL');
  }
  if (url.username !== '' || url.password !== '') {
    throw invalid(name, 'must not hold a user or password; set the key in its own variable');
  }
}

function value(env: Env, name: string): string | undefined {
  const text = env[name]?.trim();
  return text === undefined || text === '' ? undefined : text;
}
