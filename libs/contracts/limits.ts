/** Every limit that a caller can meet, in one place. Bytes are of UTF-8 JSON. */
export const LIMITS = {
  /** One event as stored. */
  eventBytes: 256 * 1024,
  /** One HTTP body, where the endpoint names no other. */
  bodyBytes: 1024 * 1024,
  /** Body of POST /events/batch. */
  batchBodyBytes: 8 * 1024 * 1024,
  /** Body of POST /chat and POST /runs: message and input files together. */
  chatBodyBytes: 4 * 1024 * 1024,
  /** Events in one atomic batch (the broker's own limit). */
  batchEvents: 1000,
  /** Nesting of a JSON body. */
  jsonDepth: 32,
  /** Values (objects, arrays, strings, …) in one JSON body. */
  jsonNodes: 100_000,
  /** Items on one page. */
  pageItems: 1000,
  /** Items on one page unless asked otherwise. */
  pageItemsDefault: 100,
  /** Longest wait of an `at_least` read. */
  atLeastWaitMs: 5_000,
  /** Characters of an objective. */
  objectiveChars: 4_000,
  /** Characters of a chat message. */
  messageChars: 2_000_000,
  /** Input files of one run. */
  inputFiles: 32,
  /** Orders of one run. */
  ordersPerRun: 100,
  /** Artifacts of one order. */
  artifactsPerOrder: 256,
  /** Body of POST /api/dossier/push-content/: its text may be written in escapes. */
  dossierBodyBytes: 4 * 1024 * 1024,
  /** Bytes of one artifact. */
  artifactBytes: 8 * 1024 * 1024,
  /** Longest synchronous chat. */
  chatWaitMs: 120_000,
  /** Time budget of one order. */
  budgetSecondsMax: 3_600,
  budgetSecondsDefault: 60,
  retriesMax: 10,
  retriesDefault: 1,
  /** Tool calls of one order. */
  toolCallsMax: 256,
  toolCallsDefault: 16,
  /** Tokens of all answers to one order. */
  orderTokensMax: 1_000_000,
  orderTokensDefault: 4_000,
  /** Text of a project document or bundle. */
  projectBytes: 4 * 1024 * 1024,
  /** Body of an import: a document as text, with its escapes. */
  projectBodyBytes: 8 * 1024 * 1024,
  /** Values in a project document or bundle. */
  projectNodes: 400_000,
  /** Phases of one project, artifacts of one project, comments of one artifact. */
  projectPhases: 100,
  projectArtifacts: 5_000,
  artifactComments: 1_000,
  /** Agents linked to one project. */
  projectAgents: 1_000,
  /** Characters of a comment, rationale or notes. */
  projectTextChars: 20_000,
  /** One artifact's field values, or one advisory draft, as JSON. */
  projectValueBytes: 128 * 1024,
  missionSlugChars: 200,
  /** Work packages of a mission whose lanes are made or merged. */
  missionWps: 200,
  /** Targets of one emit. */
  targetsPerEmit: 64,
  /** Body of a signed delivery; an accepted one, with its receipt, fits in one message. */
  signedBodyBytes: 256 * 1024,
  /** Nesting of a signed delivery. */
  signedDepth: 64,
  /** Secrets that sign or are accepted at once. */
  signingSecrets: 16,
  idempotencyKeyChars: 4_096,
  /** Characters of ids, scopes and labels in feeds. */
  feedNameChars: 1_024,
  /** Evidence of one milestone. */
  evidenceItems: 100,
  /** Segments, pillars, clusters and labels of one demand snapshot, each. */
  demandItems: 100,
  /** Newest milestones that the feed serves, and its default. */
  feedItems: 50,
  feedItemsDefault: 20,
  /** Newest rejected deliveries that the contract's list shows. */
  rejectedListed: 100,
  /** Characters of one history note of a mission. */
  noteChars: 16_000,
  /** Live streams (server-sent events) open at once on one process. */
  liveStreams: 200,
} as const;
