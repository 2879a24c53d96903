// Short names for what the service sends and takes; all of it from its own description.
import type { components, paths } from "../../generated/schema";

export type { components, paths };
type Schemas = components["schemas"];

export type Job = Schemas["JobRead"];
export type JobDetail = Schemas["JobDetail"];
export type JobSpec = Schemas["JobSpec"];
export type Status = Schemas["Status"];
export type Dataset = Schemas["DatasetRead"];
export type Sweep = Schemas["SweepRead"];
export type SweepDetail = Schemas["SweepDetail"];
export type Evaluation = Schemas["EvaluationRead"];
export type EvaluationDetail = Schemas["EvaluationDetail"];
export type EvaluationSpec = Schemas["EvaluationSpec"];
export type Figure = Schemas["FigureRead"];
export type Artifact = Schemas["ArtifactRead"];
export type Model = Schemas["ModelRead"];
export type Worker = Schemas["WorkerRead"];
export type Queue = Schemas["QueueView"];
export type Key = Schemas["KeyRead"];
export type KeyMade = Schemas["KeyMade"];
export type Webhook = Schemas["WebhookRead"];
export type WebhookMade = Schemas["WebhookMade"];
export type Delivery = Schemas["DeliveryRead"];
export type Project = Schemas["ProjectRead"];
export type Session = Schemas["SessionRead"];
export type Ready = Schemas["Ready"];
export type Usage = Schemas["UsageRead"];
export type TokensRead = Schemas["TokensRead"];
export type PreviewRead = Schemas["PreviewRead"];
export type DryRun = Schemas["DryRun"];
export type SweepSpec = Schemas["SweepSpec"];
export type SweepDryRun = Schemas["SweepDryRun"];
