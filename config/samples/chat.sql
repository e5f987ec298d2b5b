-- Sample data of the campaign unread-chat: business users @first to @last with unread messages, and
-- for every third of them one who has read everything. Needs MariaDB, for its tables of numbers.
-- By hand, in a database of your own: SET @first = 1, @last = 1000; SOURCE config/samples/chat.sql

-- Addresses and names are not here: a service of its own owns them.
CREATE TABLE IF NOT EXISTS business_user (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  company VARCHAR(100) NOT NULL,
  language CHAR(2) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- A room numbers its messages; a member has read those up to read_no.
CREATE TABLE IF NOT EXISTS chat_room (
  id BIGINT UNSIGNED NOT NULL PRIMARY KEY,
  title VARCHAR(100) NOT NULL,
  last_no INT NOT NULL,
  last_text VARCHAR(200) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

CREATE TABLE IF NOT EXISTS chat_member (
  user_id BIGINT UNSIGNED NOT NULL,
  room_id BIGINT UNSIGNED NOT NULL,
  read_no INT NOT NULL,
  PRIMARY KEY (user_id, room_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;

-- Who must get no mail.
CREATE OR REPLACE VIEW left_out AS
SELECT u.id FROM business_user u
WHERE NOT EXISTS (SELECT 1 FROM chat_member m JOIN chat_room r ON r.id = m.room_id
                  WHERE m.user_id = u.id AND r.last_no > m.read_no);

-- Numbers become even ids, and odd ids are theirs who have read everything: both in every page.
CREATE TEMPORARY TABLE newcomer AS
SELECT 2 * seq AS id, seq, 0 AS has_read FROM seq_1_to_10000000 WHERE seq BETWEEN @first AND @last
UNION ALL
SELECT 2 * seq + 1, seq, 1 FROM seq_1_to_10000000
WHERE seq BETWEEN @first AND @last AND seq % 3 = 0;

INSERT INTO business_user (id, company, language)
SELECT id, ELT(1 + (seq + 7) % 8, '온유 가구', '달항아리 공방', '서촌 책방', '푸른들 농원', 'Harbour Bikes',
               '한결 사진관', 'Studio Ahn & Co', '바다상회'),
       IF((seq + 7) % 8 IN (4, 6), 'en', 'ko')
FROM newcomer;

-- One to five rooms each, with 8 to 40 messages.
INSERT INTO chat_room (id, title, last_no, last_text)
SELECT id * 10 + room.seq,
       ELT(1 + (id + room.seq) % 7, '김서연 고객님 · 배송 문의', '박도윤 고객님 · 교환 요청',
           'Zoë Ångström · Order 2093', '이하은 고객님 · 단체 주문', '정민준 고객님 · 예약 변경',
           'Grace Hopper · Invoice', '최수아 고객님 · 견적'),
       8 + (id * 7 + room.seq * 5) % 33,
       IF((id + room.seq) % 7 IN (2, 5),
          ELT(1 + room.seq % 3, 'Could you send the invoice to our new address?',
              'Is Friday still fine?', 'Thanks, that works for us.'),
          ELT(1 + (id + room.seq * 3) % 4, '네, 그럼 금요일 오전에 받을 수 있을까요?',
              '사진 두 장 보내 드렸습니다. 확인 부탁드려요.', '색상을 <진한 회색>으로 바꾸고 싶어요.',
              '혹시 주차도 가능한가요? 🚗'))
FROM newcomer JOIN seq_1_to_5 room ON room.seq <= 1 + newcomer.seq % 5;

-- Unread are one to seven messages, of the first room and of some others.
INSERT INTO chat_member (user_id, room_id, read_no)
SELECT n.id, r.id, r.last_no - IF(n.has_read OR (r.id % 10 > 1 AND r.id % 3 = 0), 0, 1 + r.id % 7)
FROM newcomer n JOIN chat_room r ON r.id BETWEEN n.id * 10 + 1 AND n.id * 10 + 5;

DROP TEMPORARY TABLE newcomer;
