export { isRefusal, type Json, type TrackerFault } from './answers.ts';
export { bindProject, type Bound, type Candidate, choose } from './bind.ts';
export {
  createTrackerClient,
  type Origin,
  type TrackerClient,
  type TrackerOptions,
} from './client.ts';
export { type ProjectIdentity, projectSlug, repoSlug } from './identity.ts';
export { bindingIn, type StoredBinding, withBinding } from './project-yaml.ts';
export { openSession, renewTokens, type Session, type Tokens, type TokenStore } from './session.ts';
