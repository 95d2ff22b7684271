#!/usr/bin/env bash
# Remake tables of the model card (weights/README.md) and of the guide of evaluation, so that they can be checked.
#
#   bash examples/reproduce.sh DATA [OUT [PART...]]
#
# DATA     the test data, laid out as examples/guides/reproducing.md says; a set that is not there is left out, and named.
# OUT      where tables and fused images go (default: reproduced); a table is OUT/PART/NAME.md, beside it NAME.csv with one
#          row an image. A table that is there is not made again, and images that are there are not fused again: run the
#          same command to go on after an interruption, and remove a table to make it anew.
# PART     which parts (default: all): each function part_NAME below is one. Add a part by adding a function.
#
# Figures of the card are of fp32 on a CPU. LURE_MODELS="lure-small" takes one model, LURE_DTYPE and LURE_DEVICE change how it
# is computed: use another OUT for each, as tables that are there stay. It ends with 1 if a table is left out, as its data are
# missing, and with the code of the command where one fails. Bash 4.4 or newer.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
read -r -a models <<< "${LURE_MODELS:-lure-small lure-base}"
machine=(--dtype "${LURE_DTYPE:-fp32}" --device "${LURE_DEVICE:-cpu}")
absent=()

# --- parts -------------------------------------------------------------------------------------------------------------

# Clean pairs, without a prompt, beside the floors.
part_clean() {
  local set pairs
  for set in MSRS RoadScene VIFB LLVIP; do
    pairs=$data/fusion/$set/test
    needs "clean/$set" "$pairs/ir" "$pairs/vi" || continue
    fuse_all "$pairs/ir" "$pairs/vi" "clean/$set"
    table "clean/$set" lure eval --ir "$pairs/ir" --vis "$pairs/vi" "${fused[@]}" --floors \
      --metrics EN,SD,SF,AG,MI,SCD,VIF,Qabf,SSIM,VIF_min,SSIM_min
  done
}

# Degraded pairs, with the right prompt and without one, scored against the clean sources.
part_degraded() {
  local set
  for set in MSRS RoadScene; do
    cases_of "$set" degraded || continue
    table "degraded/$named" lure bench fusion "$cases" "${weights[@]}" "${machine[@]}"
  done
}

# The same with a wrong prompt too.
part_adherence() {
  local set
  for set in MSRS RoadScene; do
    cases_of "$set" adherence || continue
    table "adherence/$named" lure bench fusion "$cases" "${weights[@]}" "${machine[@]}" --wrong
  done
}

# Degraded pairs of others: haze, rain and snow, and dark pairs with a striped infrared.
part_weather() {
  local low="low contrast in the infrared image"
  case_of_others AWMM-haze AWMM/haze "haze in the visible image, $low"
  case_of_others AWMM-rain AWMM/rain "rain in the visible image, $low"
  case_of_others AWMM-snow AWMM/snow "snow in the visible image, $low"
  case_of_others AWMM-snow-called-rain AWMM/snow "rain in the visible image, $low"
  case_of_others DRMF DRMF/lowlight+irstripe "low light in the visible image, stripes and $low"
}

# Restoration of single images, told their degradation; clean ones without a prompt.
part_restoration() {
  local clean=()
  needs restoration/sets "$data/restoration" || return 0
  [[ -d $data/clean/visible/Kodak24 ]] && clean=(--clean "vis=$data/clean/visible/Kodak24")
  table restoration/sets lure bench restore "$data" "${weights[@]}" "${machine[@]}" "${clean[@]}" --fit
}

# Infrared stripes with grain, by three prompts, after the best gain and offset of brightness.
part_stripes() {
  local test=$data/restoration/infrared/stripe/M3SVD/test model prompt restored
  needs stripes/M3SVD "$test/degraded" "$test/clean" || return 0
  is_done stripes/M3SVD && return
  for model in "${models[@]}"; do
    for prompt in "stripes" "stripes, noise" "stripes, noise, low contrast"; do
      restored=$out/images/stripes/$model/${prompt//, /+}
      lure restore --ir "$test/degraded" --prompt "$prompt" --weights "$model" "${machine[@]}" -o "$restored/" \
        --skip-existing --quiet
    done
  done
  keep stripes/M3SVD.md fitted "$test" "$out/images/stripes"
}

# Object detection by detectors that are trained on each method's pictures (needs the extra bench): hours on a CPU.
part_objects() {
  local train=$data/fusion/MSRS_resplit/train test=$data/fusion/MSRS/test labels=$data/labels/MSRS
  needs objects/MSRS {"$train","$test"}/{ir,vi} "$labels"/{train,test} || return 0
  table objects/MSRS lure bench detect "$train" "$test" --labels "$labels" --classes person,bicycle,car --floors \
    --cases vis_haze,vis_lowlight,vis_noise,ir_stripe "${weights[@]}" "${machine[@]}" -o "$out/images/objects"
}

# How steady clips are, fused as streams: one of a camera, one rendered (needs the extra video).
part_steadiness() {
  local smoke=$data/clips/M3SVD rendered=$out/images/steadiness/clip
  if needs steadiness/smoke "$smoke"; then
    steady smoke "$smoke/smoke_infrared.mp4" "$smoke/smoke_visible.mp4" 31 12 haze
  fi
  [[ -f $rendered/vis.mp4 ]] || python "$project/examples/make_clip.py" --out "$rendered" --size 320x240 --frames 40
  steady rendered "$rendered/ir.mp4" "$rendered/vis.mp4" 24 24 haze noise
}

# Which metrics reward noise in a source: plain fusion of every fifth pair, scored against the sources that were fused.
part_noise() {
  local pairs=$data/fusion/MSRS/test cases=$out/images/noise/cases case
  needs noise/MSRS "$pairs/ir" "$pairs/vi" || return 0
  made_cases MSRS "$cases" --cases clean,vis_noise,ir_noise,vis_haze
  for case in clean vis_noise ir_noise vis_haze; do
    fuse_all "$cases/$case/ir" "$cases/$case/vi" "noise/$case"
    table "noise/$case" lure eval --ir "$cases/$case/ir" --vis "$cases/$case/vi" "${fused[@]}" --floors \
      --metrics EN,SF,AG,MI,VIF,Qabf,SSIM,Qcb,Qy,NIQE,BRISQUE
  done
}

# How far the tasks have merged in the latent space (needs the extra plot).
part_latent() {
  needs latent/ulfs "$data/clean" "$data/restoration" || return 0
  keep latent/ulfs.txt lure plot ulfs "${models[@]}" --data "$data" --samples 10 --device "${LURE_DEVICE:-cpu}" \
    -o "$out/latent/ulfs.png"
}

# Prompts that were written by hand, read by the text encoder; DATA is not used.
part_texts() {
  local list
  for list in prompts prompts_other prompts_weather; do
    keep "texts/$list.txt" python -m lure_cli.tasks.train.parser test \
      --weights "$project/weights/lure-text.safetensors" --prompts "$project/tests/$list.tsv"
  done
}

# Seconds, memory and arithmetic on this machine, from tensor to tensor; give it nothing else to do.
part_speed() {
  local model
  for model in "${models[@]}"; do
    is_done "speed/$model" && continue
    keep "speed/$model.md" lure bench speed --weights "$model" --sizes 640x480 --device "${LURE_DEVICE:-cpu}" \
      --dtypes fp32,bf16 --backends torch,onnx --quiet
  done
}

# --- what they share ---------------------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $1"
  exit 2
}

# needs TABLE FOLDER...: whether the folders are there; if not, the table is on the list of those left out.
needs() {
  local name=$1 folder
  shift
  for folder in "$@"; do
    if [[ ! -d $folder ]]; then
      say "$name: left out, as there is no folder $folder"
      absent+=("$name")
      return 1
    fi
  done
}

is_done() {
  [[ -s $out/$1.md ]] && say "$1: done before"
}

# table NAME COMMAND...: OUT/NAME.md and .csv, written by the command's --markdown and --csv; the .md comes last and whole.
table() {
  local name=$1 file
  shift
  is_done "$name" && return
  say "$name: $*"
  rm -rf "$out/unfinished"
  mkdir -p "$out/unfinished" "$out/${name%/*}"
  "$@" --csv "$out/unfinished/t.csv" --markdown "$out/unfinished/t.md" --quiet > /dev/null
  for file in "$out"/unfinished/t*.csv "$out/unfinished/t.md"; do
    mv "$file" "$out/$name${file#"$out/unfinished/t"}"
  done
}

# keep NAME.EXT COMMAND...: what the command prints, whole.
keep() {
  local name=$1
  shift
  if [[ -s $out/$name ]]; then
    say "$name: done before"
    return
  fi
  say "$name: $*"
  mkdir -p "$out/unfinished" "$out/${name%/*}"
  "$@" > "$out/unfinished/kept"
  mv "$out/unfinished/kept" "$out/$name"
}

# fuse_all IR VIS NAME: OUT/images/NAME/MODEL of each model; `fused` then names them for `lure eval`.
fuse_all() {
  local model
  fused=()
  for model in "${models[@]}"; do
    fused+=(--fused "$model=$out/images/$3/$model")
    is_done "$3" > /dev/null 2>&1 && continue
    lure fuse --ir "$1" --vis "$2" --weights "$model" "${machine[@]}" -o "$out/images/$3/$model/" --skip-existing --quiet
  done
}

# cases_of SET PART: `cases` is DATA/cases/SET, or else cases made here from every fifth pair; `named` then says so.
cases_of() {
  local pairs=$data/fusion/$1/test
  cases=$data/cases/$1 named=$1
  [[ -f $cases/cases.json ]] && return
  needs "$2/$1" "$pairs/ir" "$pairs/vi" || return 1
  cases=$out/images/cases/$1 named=$1-own-cases
  say "$2/$1: there is no $data/cases/$1/cases.json, so the degradations are this project's: not the figures of the card"
  made_cases "$1" "$cases"
}

# made_cases SET FOLDER OPTION...: cases made in FOLDER from every fifth pair, unless they are there.
made_cases() {
  local pairs=$data/fusion/$1/test side file number
  [[ -f $2/cases.json ]] && return
  for side in ir vi; do
    rm -rf "$out/images/every_fifth/$1/$side"
    mkdir -p "$out/images/every_fifth/$1/$side"
    number=0
    for file in "$pairs/$side"/*; do
      if ((number++ % 5 == 0)); then ln -s "$file" "$out/images/every_fifth/$1/$side/"; fi
    done
  done
  python "$project/examples/make_cases.py" --ir "$out/images/every_fifth/$1/ir" --vis "$out/images/every_fifth/$1/vi" \
    --out "$2" "${@:3}"
}

# steady NAME IR VIS FRAMES OTHERS PROMPT...: clips of each model, plain and by each prompt, beside their sources and the
# floors: flowD of so many frames, and the slower metrics of the first OTHERS.
steady() {
  local name=$1 ir=$2 vis=$3 frames=$4 others=$5 model prompt folder
  local clips=(--fused "visible-source=$vis" --fused "infrared-source=$ir")
  is_done "steadiness/$name-flowD" && is_done "steadiness/$name" && return
  for model in "${models[@]}"; do
    for prompt in "" "${@:6}"; do
      folder=$out/images/steadiness/$name/$model${prompt:+-$prompt}
      clips+=(--fused "${folder##*/}=$folder")
      [[ -f $folder/.whole ]] && continue
      lure fuse --ir "$ir" --vis "$vis" --weights "$model" "${machine[@]}" ${prompt:+--prompt "$prompt"} \
        -o "$folder/{frame:04d}.png" --limit "$frames" --overwrite --quiet
      touch "$folder/.whole"
    done
  done
  clips=(lure eval --ir "$ir" --vis "$vis" "${clips[@]}" --floors)
  table "steadiness/$name-flowD" "${clips[@]}" --frames "$frames" --metrics flowD
  table "steadiness/$name" "${clips[@]}" --frames "$others" --metrics BiSWE,MS2R
}

# case_of_others NAME FOLDER PROMPT: a table of one case whose clean sources are beside the degraded ones.
case_of_others() {
  local test=$data/degraded_ivif/$2/test folder=$out/images/weather/$1
  needs "weather/$1" "$test/ir" "$test/vi" "$test/ir_clean" "$test/vi_clean" || return 0
  mkdir -p "$folder/clean" "$folder/degraded"
  ln -sfn "$test/ir_clean" "$folder/clean/ir"
  ln -sfn "$test/vi_clean" "$folder/clean/vi"
  ln -sfn "$test/ir" "$folder/degraded/ir"
  ln -sfn "$test/vi" "$folder/degraded/vi"
  printf '{"clean": "", "degraded": "%s"}\n' "$3" > "$folder/cases.json"
  table "weather/$1" lure bench fusion "$folder" "${weights[@]}" "${machine[@]}"
}

# fitted TEST RESTORED: PSNR after the best gain and offset, of each folder MODEL/PROMPT of restored images.
fitted() {
  python - "$1" "$2" << 'PYTHON'
import sys
from pathlib import Path

from lure_cli.core.images.picture import read_pixels
from lure_cli.core.metrics import fitted_psnr

test, restored = map(Path, sys.argv[1:])
clean = {path.stem: read_pixels(path) for path in (test / "clean").iterdir()}
print("| model | prompt | PSNR after the best gain and offset, dB |\n| --- | --- | --- |")
for name, folder in (("as it comes", test / "degraded"), *((f.parent.name, f) for f in sorted(restored.glob("*/*")))):
    values = [fitted_psnr(read_pixels(path), clean[path.stem]) for path in sorted(folder.iterdir())]
    print(f"| {name} | {'' if folder.name == 'degraded' else folder.name} | {sum(values) / len(values):.2f} |")
PYTHON
}

# --- all of it ---------------------------------------------------------------------------------------------------------

mapfile -t known < <(sed -n 's/^part_\([a-z_]*\)().*/\1/p' "${BASH_SOURCE[0]}")
((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "this is bash $BASH_VERSION; 4.4 or newer is needed"
[[ $# -ge 1 && $1 != -h && $1 != --help ]] || fail "usage: bash examples/reproduce.sh DATA [OUT [PART...]]; parts: ${known[*]}"
[[ -d $1 ]] || fail "$1: no such folder"
data=$(cd "$1" && pwd)
mkdir -p "${2:-reproduced}"
out=$(cd "${2:-reproduced}" && pwd)
parts=("${@:3}")
((${#parts[@]})) || parts=("${known[@]}")
for part in "${parts[@]}"; do
  [[ " ${known[*]} " == *" $part "* ]] || fail "there is no part '$part'; parts: ${known[*]}"
done
command -v lure > /dev/null || fail "there is no command lure: install LURE, and activate its environment"
weights=()
for model in "${models[@]}"; do weights+=(--weights "$model"); done
trap 'say "stopped; the same command goes on from here"' EXIT
for part in "${parts[@]}"; do "part_$part"; done
rm -rf "$out/unfinished"
trap - EXIT
if ((${#absent[@]})); then
  say "left out, as their data are not there: ${absent[*]}"
  exit 1
fi
say "all tables are in $out"
