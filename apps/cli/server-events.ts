import { type ErrorBody, fromErrorBody } from '#libs/contracts';

export type ServerEvent = { id: string; data: unknown };

const EVENT_CHARS_MAX = 1024 * 1024;

/**
 * Reads server-sent events until the body ends.
 * @throws the error that a closing `error` event carries
 */
export async function* readServerEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > EVENT_CHARS_MAX + chunk.length) throw new Error('an event is too long');
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event !== undefined) yield event;
    }
  }
}

function parseBlock(block: string): ServerEvent | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    if (at > 0) fields.set(line.slice(0, at), line.slice(at + 1).trimStart());
  }
  const text = fields.get('data');
  if (text === undefined) return undefined;
  const data: unknown = JSON.parse(text);
  if (fields.get('event') === 'error') {
    throw fromErrorBody((data as { error?: Partial<ErrorBody> }).error ?? {});
  }
  return { id: fields.get('id') ?? '', data };
}
