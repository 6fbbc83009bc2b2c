#!/usr/bin/env bash
# The AWS CLI: tables, items, queries with expressions, batches, transactions, waiters, paging, errors.
set -euo pipefail

checks=0
table=cli-$MERIDIAN_RUN
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# same EXPECTED COMMAND...: one check, that the command prints exactly this.
same() {
  local expected=$1 found
  shift
  found=$("$@") || { echo "failed: $*" >&2; exit 1; }
  [ "$found" = "$expected" ] || { printf 'of: %s\nfound: %s\nexpected: %s\n' "$*" "$found" "$expected" >&2; exit 1; }
  checks=$((checks + 1))
}
# refused WORDS COMMAND...: one check, that the command fails and says this.
refused() {
  local words=$1 found
  shift
  if found=$("$@" 2>&1); then printf 'of: %s\nfound an answer: %s\n' "$*" "$found" >&2; exit 1; fi
  case $found in *"$words"*) ;; *) printf 'of: %s\nfound: %s\nexpected: %s\n' "$*" "$found" "$words" >&2; exit 1 ;; esac
  checks=$((checks + 1))
}
ddb() { aws dynamodb "$@" --output text; }
ddbjson() { aws dynamodb "$@" --output json | python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin), sort_keys=True))'; }

same "$table" ddb create-table --table-name "$table" --billing-mode PAY_PER_REQUEST \
  --attribute-definitions AttributeName=artist,AttributeType=S AttributeName=song,AttributeType=S AttributeName=year,AttributeType=N \
  --key-schema AttributeName=artist,KeyType=HASH AttributeName=song,KeyType=RANGE \
  --global-secondary-indexes 'IndexName=by-year,KeySchema=[{AttributeName=artist,KeyType=HASH},{AttributeName=year,KeyType=RANGE}],Projection={ProjectionType=KEYS_ONLY}' \
  --query TableDescription.TableName
same "" ddb wait table-exists --table-name "$table"
same ACTIVE ddb describe-table --table-name "$table" --query Table.TableStatus
same $'artist\tHASH\tsong\tRANGE' ddb describe-table --table-name "$table" --query 'Table.KeySchema[].[AttributeName,KeyType][]'
same by-year ddb describe-table --table-name "$table" --query 'Table.GlobalSecondaryIndexes[].IndexName'
same "$table" ddb list-tables --query "TableNames[?@=='$table']"
refused "An error occurred (ResourceInUseException) when calling the CreateTable operation: Table already exists: $table" \
  ddb create-table --table-name "$table" --billing-mode PAY_PER_REQUEST \
  --attribute-definitions AttributeName=a,AttributeType=S --key-schema AttributeName=a,KeyType=HASH

item='{"artist":{"S":"Björk"},"song":{"S":"Jóga"},"year":{"N":"1997"},"raw":{"B":"one"},"tags":{"SS":["b","a"]},"more":{"M":{"live":{"BOOL":true},"none":{"NULL":true},"list":{"L":[{"N":"1.50"}]}}}}'
same "" ddb put-item --table-name "$table" --item "$item"
# (Version 1 of the CLI takes the text of a binary as its bytes.)
same '{"Item": {"artist": {"S": "Bj\u00f6rk"}, "more": {"M": {"list": {"L": [{"N": "1.5"}]}, "live": {"BOOL": true}, "none": {"NULL": true}}}, "raw": {"B": "b25l"}, "song": {"S": "J\u00f3ga"}, "tags": {"SS": ["a", "b"]}, "year": {"N": "1997"}}}' \
  ddbjson get-item --table-name "$table" --key '{"artist":{"S":"Björk"},"song":{"S":"Jóga"}}' --consistent-read
refused "An error occurred (ConditionalCheckFailedException) when calling the PutItem operation: The conditional request failed" \
  ddb put-item --table-name "$table" --item "$item" --condition-expression 'attribute_not_exists(artist)'
same '{"Attributes": {"plays": {"N": "5"}, "year": {"N": "1998"}}}' ddbjson update-item --table-name "$table" \
  --key '{"artist":{"S":"Björk"},"song":{"S":"Jóga"}}' --update-expression 'SET #y = #y + :one ADD plays :five REMOVE tags' \
  --expression-attribute-names '{"#y":"year"}' --expression-attribute-values '{":one":{"N":"1"},":five":{"N":"5"}}' --return-values UPDATED_NEW
refused "An error occurred (ValidationException) when calling the GetItem operation: The provided key element does not match the schema" \
  ddb get-item --table-name "$table" --key '{"artist":{"S":"Björk"}}'
refused "An error occurred (ResourceNotFoundException) when calling the GetItem operation" \
  ddb get-item --table-name "$table-none" --key '{"artist":{"S":"Björk"}}'

# A batch of 25, from a file.
python3 - "$table" >"$work/batch.json" <<'PY'
import json, sys
puts = [{"PutRequest": {"Item": {"artist": {"S": "Can"}, "song": {"S": f"song {n:02}"}, "year": {"N": str(1970 + n % 5)}}}} for n in range(25)]
print(json.dumps({sys.argv[1]: puts}))
PY
same '{"UnprocessedItems": {}}' ddbjson batch-write-item --request-items "file://$work/batch.json"
same 2 ddb batch-get-item --request-items "{\"$table\":{\"Keys\":[{\"artist\":{\"S\":\"Can\"},\"song\":{\"S\":\"song 03\"}},{\"artist\":{\"S\":\"Can\"},\"song\":{\"S\":\"song 04\"}},{\"artist\":{\"S\":\"Can\"},\"song\":{\"S\":\"none\"}}]}}" \
  --query "length(Responses.\"$table\")"

same $'song 24\tsong 23\tsong 22' ddb query --table-name "$table" --key-condition-expression 'artist = :a AND begins_with(song, :s)' \
  --expression-attribute-values '{":a":{"S":"Can"},":s":{"S":"song 2"}}' --no-scan-index-forward --limit 3 --no-paginate --query 'Items[].song.S'
same $'song 04\tsong 09\tsong 14\tsong 19\tsong 24' ddb query --table-name "$table" --index-name by-year \
  --key-condition-expression 'artist = :a AND #y > :y' --expression-attribute-names '{"#y":"year"}' \
  --expression-attribute-values '{":a":{"S":"Can"},":y":{"N":"1973"}}' --query 'sort(Items[].song.S)'
same $'5\t25' ddb query --table-name "$table" --key-condition-expression 'artist = :a' --filter-expression '#y = :y AND attribute_not_exists(tags)' \
  --expression-attribute-names '{"#y":"year"}' --expression-attribute-values '{":a":{"S":"Can"},":y":{"N":"1970"}}' \
  --query '[Count,ScannedCount]'
# The CLI pages by itself: ten items a request, and all of them at the end; or by hand with its tokens.
same 26 aws dynamodb scan --table-name "$table" --page-size 10 --query 'length(Items)' --output json
token=$(aws dynamodb scan --table-name "$table" --max-items 20 --page-size 7 --query NextToken --output json | tr -d '"')
same 6 aws dynamodb scan --table-name "$table" --starting-token "$token" --query 'length(Items)' --output json

# Transactions: all of it or none.
transaction() {
  printf '[{"Put":{"TableName":"%s","Item":{"artist":{"S":"Neu!"},"song":{"S":"%s"}}}},{"Delete":{"TableName":"%s","Key":{"artist":{"S":"Can"},"song":{"S":"song 00"}},"ConditionExpression":"attribute_exists(song)"}}]' "$table" "$1" "$table"
}
same "" ddb transact-write-items --transact-items "$(transaction Hallogallo)"
refused "An error occurred (TransactionCanceledException) when calling the TransactWriteItems operation: Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]" \
  ddb transact-write-items --transact-items "$(transaction Isi)"
same Hallogallo ddb query --table-name "$table" --key-condition-expression 'artist = :a' \
  --expression-attribute-values '{":a":{"S":"Neu!"}}' --query 'Items[].song.S'
same Hallogallo ddb transact-get-items --query 'Responses[0].Item.song.S' \
  --transact-items "[{\"Get\":{\"TableName\":\"$table\",\"Key\":{\"artist\":{\"S\":\"Neu!\"},\"song\":{\"S\":\"Hallogallo\"}}}}]"
same '{"Attributes": {"artist": {"S": "Neu!"}, "song": {"S": "Hallogallo"}}}' ddbjson delete-item --table-name "$table" \
  --key '{"artist":{"S":"Neu!"},"song":{"S":"Hallogallo"}}' --return-values ALL_OLD

same DISABLED ddb describe-time-to-live --table-name "$table" --query TimeToLiveDescription.TimeToLiveStatus
arn=$(ddb describe-table --table-name "$table" --query Table.TableArn)
same "" ddb tag-resource --resource-arn "$arn" --tags Key=team,Value=music
same $'team\tmusic' ddb list-tags-of-resource --resource-arn "$arn" --query 'Tags[].[Key,Value][]'
same "$table" ddb delete-table --table-name "$table" --query TableDescription.TableName
same "" ddb wait table-not-exists --table-name "$table"
refused "An error occurred (ResourceNotFoundException) when calling the DescribeTable operation" ddb describe-table --table-name "$table"

echo "ok: $(aws --version | cut -d' ' -f1): $checks checks"
