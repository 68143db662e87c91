// The peer of scripts/bench: the storage service of a shop on Node, with the libraries that one would take for it.
// It is written to be as fast as they allow: statements are prepared, bytes are streamed, nothing is logged. It neither
// hashes what it stores nor waits until that is on the disk, and it believes the header that says who buys.
import express from 'express'
import multer from 'multer'
import Database from 'better-sqlite3'
import { createReadStream, mkdirSync } from 'node:fs'
import { readFile, rename, unlink } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { S3Client, GetObjectCommand } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const root = process.env.UPLOAD_DIR
const bucket = process.env.S3_BUCKET
for (const folder of ['models', 'temp']) mkdirSync(path.join(root, folder), { recursive: true })

// Without a bucket, files stay on the disk.
const s3 = bucket && new S3Client({
  endpoint: process.env.S3_ENDPOINT,
  region: process.env.S3_REGION,
  forcePathStyle: true,
  // A checksum of each part would be work that the other settings of this peer do not have either.
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
  credentials: { accessKeyId: process.env.S3_KEY_ID, secretAccessKey: process.env.S3_APPLICATION_KEY }
})

const db = new Database(path.join(root, 'shop.db'))
db.pragma('journal_mode = WAL')
db.exec(`create table if not exists models (id text primary key, name text, key text, size integer, type text) without rowid;
         create table if not exists purchases (buyer text, model text, primary key (buyer, model)) without rowid;`)
const insertModel = db.prepare('insert into models values (?, ?, ?, ?, ?)')
const insertPurchase = db.prepare('insert or ignore into purchases values (?, ?)')
const findModel = db.prepare('select id, name, key, size, type from models where id = ?')
const findPurchase = db.prepare('select 1 from purchases where buyer = ? and model = ?')

async function store (temp, key, type) {
  if (!s3) return rename(temp, path.join(root, key))
  const params = { Bucket: bucket, Key: key, Body: createReadStream(temp, { highWaterMark: 1 << 20 }), ContentType: type }
  await new Upload({ client: s3, queueSize: 4, partSize: 8 << 20, params }).done()
  await unlink(temp)
}

async function open (model) {
  if (s3) return (await s3.send(new GetObjectCommand({ Bucket: bucket, Key: model.key }))).Body
  return createReadStream(path.join(root, model.key), { highWaterMark: 1 << 20 })
}

// The gate: the model if this buyer bought it, else nothing, and the answer is given.
function bought (req, res) {
  const model = findModel.get(req.params.id)
  if (!model) {
    res.status(404).json({ error: 'no such model' })
  } else if (!findPurchase.get(req.get('x-buyer') ?? '', model.id)) {
    res.status(403).json({ error: 'not purchased' })
  } else {
    return model
  }
}

const app = express()
app.disable('x-powered-by')
app.set('etag', false)

app.post('/models', multer({ dest: path.join(root, 'temp') }).single('file'), async (req, res) => {
  const { originalname: name, mimetype: type, path: temp, size } = req.file
  const id = randomUUID()
  const key = `models/${id}${path.extname(name)}`
  await store(temp, key, type)
  insertModel.run(id, name, key, size, type)
  res.status(201).json({ id, key, size })
})

app.post('/purchases/:buyer/:model', (req, res) => {
  insertPurchase.run(req.params.buyer, req.params.model)
  res.status(201).json({ buyer: req.params.buyer, model: req.params.model })
})

app.get('/models/:id/download', async (req, res) => {
  const model = bought(req, res)
  if (!model) return
  res.set({
    'content-type': model.type,
    'content-length': model.size,
    'content-disposition': `attachment; filename="${model.name}"`
  })
  // A stream costs more than reading a small file does.
  if (!s3 && model.size <= 1 << 16) return res.end(await readFile(path.join(root, model.key)))
  await pipeline(await open(model), res).catch(() => res.destroy())
})

app.get('/models/:id/url', async (req, res) => {
  const model = bought(req, res)
  if (!model) return
  const command = new GetObjectCommand({ Bucket: bucket, Key: model.key })
  res.json({ url: await getSignedUrl(s3, command, { expiresIn: 900 }) })
})

app.listen(Number(process.env.PORT), '127.0.0.1')
