export { type ConfiguredModel, modelFromEnv } from './from-env.ts';
export { type OpenAiOptions, openAiProvider } from './io-intelligence.ts';
export { LOCAL_MODEL, localProvider } from './local/provider.ts';
export {
  DEFAULT_MAX_TOKENS,
  DEFAULT_TEMPERATURE,
  type ModelAnswer,
  type ModelFile,
  type ModelOutput,
  type ModelProvider,
  type ModelRequest,
  type ModelTask,
  type ModelTool,
  type ModelToolCall,
  type ModelTurn,
} from './port.ts';
export { type PriceTable, readPrices } from './prices.ts';
export { buildMessages, type PromptMessage } from './prompt.ts';
export { splitSections } from './sections.ts';
