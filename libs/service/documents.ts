import { ENDPOINTS } from '#libs/contracts';
import type { Page } from './dispatch.ts';
import { DOCS_CSP, docsPage } from './docs-page.ts';
import { openApiDocument } from './openapi.ts';
import type { Mount } from './routes.ts';
import type { Service } from './service.ts';

/** The pages that tell what is served here, by path; made once, on the first request. */
export function documentPages(options: {
  services: readonly Service[];
  mount: Mount;
  version: string;
}): [string, () => Page][] {
  const document = once(() => {
    const here = options.services.flatMap((service) =>
      [...service.operations.values()].map((operation) => operation.endpoint),
    );
    return openApiDocument(options.mount === 'gateway' ? ENDPOINTS : here, options);
  });
  const json = once(() => page(JSON.stringify(document()), { 'content-type': 'application/json' }));
  const html = once(() =>
    page(docsPage(document()), {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': DOCS_CSP,
    }),
  );
  return [
    ['/openapi.json', json],
    ['/docs', html],
  ];
}

function page(body: string, headers: Record<string, string>): Page {
  return { body, headers: { ...headers, 'cache-control': 'no-cache' } };
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
