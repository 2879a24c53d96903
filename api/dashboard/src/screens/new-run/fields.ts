// The fields of a job that may be left alone: where each stands, what it may be. Their defaults are the service's, and
// shown as it tells them.
import type { components } from "../../api/types";

type Schemas = components["schemas"];
interface Parts {
  lora: Schemas["LoraSpec"];
  quantization: Schemas["QuantizationSpec"];
  training: Schemas["TrainingSpec"];
  validation: Schemas["ValidationSpec"];
  noise: Schemas["NoiseSpec"];
  resources: Schemas["ResourcesSpec"];
}

export interface Field {
  /** Its place, with dots: `training.epochs`. */
  at: string;
  /** What may be chosen; free text where there are none. */
  options?: readonly string[];
  /** Names with commas between. */
  list?: boolean;
  /** Numbers on the keyboard of a phone. */
  number?: boolean;
}

type Word<T> = Extract<T, string>;

const number = <P extends keyof Parts>(part: P, name: keyof Parts[P] & string): Field => ({ at: `${part}.${name}`, number: true });
const text = <P extends keyof Parts>(part: P, name: keyof Parts[P] & string): Field => ({ at: `${part}.${name}` });
const yesNo = <P extends keyof Parts>(part: P, name: keyof Parts[P] & string): Field => ({ at: `${part}.${name}`, options: ["true", "false"] });
const choice = <P extends keyof Parts, N extends keyof Parts[P] & string>(part: P, name: N, ...options: Word<Parts[P][N]>[]): Field => ({
  at: `${part}.${name}`, options,
});

const METHODS: readonly Schemas["JobSpec"]["method"][] = ["lora", "qlora", "full"];

export const SECTIONS: Readonly<Record<string, readonly Field[]>> = {
  method: [
    { at: "method", options: METHODS },
    number("lora", "r"),
    number("lora", "lora_alpha"),
    number("lora", "lora_dropout"),
    { at: "lora.target_modules", list: true },
    yesNo("lora", "use_dora"),
    yesNo("lora", "use_rslora"),
    choice("quantization", "type", "nf4", "fp4"),
    yesNo("quantization", "double"),
    choice("quantization", "compute_dtype", "auto", "fp32", "bf16"),
  ],
  optimiser: [
    number("training", "epochs"),
    number("training", "max_steps"),
    number("training", "learning_rate"),
    choice("training", "scheduler", "cosine", "linear", "constant"),
    number("training", "warmup_ratio"),
    number("training", "batch_size"),
    text("training", "micro_batch_size"),
    text("training", "max_grad_norm"),
    number("training", "weight_decay"),
    choice("training", "loss_reduction", "tokens", "micro_batch"),
    choice("training", "precision", "auto", "fp32", "bf16"),
    { at: "training.gradient_checkpointing", options: ["auto", "true", "false"] },
    number("training", "seed"),
  ],
  data: [
    number("training", "max_length"),
    choice("training", "template", "auto", "alpaca", "vicuna", "chat", "plain"),
    choice("training", "train_on", "response", "all"),
    choice("training", "packing", "auto", "off", "on"),
    choice("training", "split_conversations", "auto", "off", "on"),
    yesNo("training", "drop_last"),
    number("validation", "split"),
    text("validation", "dataset"),
  ],
  noise: [
    choice("noise", "distribution", "uniform", "gaussian", "sphere"),
    choice("noise", "scale", "paper", "batch_width"),
    choice("noise", "target", "all", "prompt", "response"),
    choice("noise", "schedule", "constant", "linear_warmup", "linear_decay"),
    number("noise", "clean_loss_every"),
  ],
  evaluation: [
    text("training", "eval_every"),
    text("training", "save_every"),
    number("training", "keep_checkpoints"),
    { at: "training.early_stop.patience", number: true },
  ],
  resources: [
    text("resources", "gpus"),
    number("resources", "max_minutes"),
    number("resources", "priority"),
    { at: "tags", list: true },
    { at: "revision" },
    { at: "hub_token.secret" },
  ],
};

export const ALL: readonly Field[] = Object.values(SECTIONS).flat();
